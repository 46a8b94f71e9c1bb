package open_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/firnlog/firn/tier/object"
	"github.com/firnlog/firn/tier/object/objecttest"
	"github.com/firnlog/firn/tier/object/open"
)

func TestMain(m *testing.M) { objecttest.Main(m) }

// clear takes away credentials and configuration that the machine may have.
func clear(t *testing.T) {
	t.Helper()
	for _, name := range []string{"MINIO_ACCESS_KEY", "MINIO_SECRET_KEY", "MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD", "AWS_ACCESS_KEY_ID",
		"AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "MINIO_ALIAS"} {
		t.Setenv(name, "")
	}
	t.Setenv("HOME", t.TempDir())
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(t.TempDir(), "none"))
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(t.TempDir(), "none"))
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
}

func write(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "credentials")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

const (
	aws = "[default]\naws_access_key_id = AKIDEFAULT\naws_secret_access_key = hush1\n[archive]\naws_access_key_id = AKIARCHIVE\naws_secret_access_key = hush2\n"
	mc  = `{"version":"10","aliases":{"local":{"url":"http://x","accessKey":"mcuser","secretKey":"hush3","api":"s3v4"}}}`
)

func TestURLs(t *testing.T) {
	clear(t)
	awsFile, mcFile, plain := write(t, aws), write(t, mc), filepath.Join(t.TempDir(), "store")
	for _, c := range []struct {
		url, want string // want: the store's URL, or a part of the sentence
		ok        bool
	}{
		{"dir://" + plain, "dir://" + plain, true},
		{"dir:///", "has no path", false},
		{"dir://host/path", "three slashes", false},
		{"dir:" + plain[1:], "dir:///path", false},
		{"dir://" + plain + "?sync=no", `parameter "sync" is not known for dir: it takes none`, false},
		{plain, "is not known: use dir:///path", false},
		{"gs://bucket", `scheme "gs" is not known`, false},
		{"dir://" + awsFile, "a file stands where", false},

		{"s3://bucket/a/b?region=eu-central-1", "s3://bucket/a/b", true},
		{"s3://bucket?region=eu-central-1&credentials=" + awsFile + "&profile=archive", "s3://bucket", true},
		{"s3://bucket/?endpoint=http://127.0.0.1:1", "s3://bucket", true},
		{"s3://bucket", "put region= into the store URL", false},
		{"s3:///prefix?region=x", "has no bucket", false},
		{"s3://bucket?region=eu-central-1&regoin=x", `parameter "regoin" is not known for s3: known are credentials, endpoint, profile, region`, false},
		{"s3://bucket?region=", `parameter "region" has no value`, false},
		{"s3://bucket?region=a&region=b", "2 times", false},
		{"s3://bucket?endpoint=127.0.0.1:9000", "http://host:port", false},
		{"s3://bucket?endpoint=http://u:hush@h:1", "holds a user name or password", false},
		{"s3://bucket?region=x&credentials=rel/file", "absolute path", false},
		{"s3://bucket?region=x&credentials=/no/such/file", "no such file", false},
		{"s3://bucket?region=x&profile=nobody", `no profile "nobody"`, false},
		{"s3://bucket/a//b?region=x", "prefix", false},
		{"s3://key:hush@bucket?region=x", "holds a user name or password", false},
		{"s3://key:hush@bucket:x?region=x", "cannot be parsed", false},

		{"minio://h:9000/bucket/p?credentials=" + awsFile, "minio://h:9000/bucket/p", true},
		{"minio://h:9000/bucket?secure=false&credentials=" + awsFile + "&profile=archive", "minio://h:9000/bucket", true},
		{"minio://h:9000/bucket?secure=true&region=eu&credentials=" + mcFile + "&profile=local", "minio://h:9000/bucket", true},
		{"minio://h:9000/bucket?secure=no&credentials=" + awsFile, `secure: is "no"; allowed are true`, false},
		{"minio://h:9000/bucket", "set MINIO_ACCESS_KEY and MINIO_SECRET_KEY", false},
		{"minio://h:9000/bucket?profile=nobody", "no credentials for profile nobody", false},
		{"minio://h:9000/bucket?credentials=" + mcFile + "&profile=remote", "no credentials for profile remote", false},
		{"minio://h:9000", "no host or no bucket", false},
		{"minio:///bucket", "no host or no bucket", false},
		{"minio://u:hush@h:9000/bucket", "holds a user name or password", false},
		{"minio://h:9000/bucket?endpoint=x&credentials=" + awsFile, "known are credentials, profile, region, secure", false},
	} {
		s, err := open.Open(t.Context(), c.url, open.Options{})
		switch {
		case c.ok && err != nil:
			t.Errorf("%s: %v", c.url, err)
		case c.ok && s.URL() != c.want:
			t.Errorf("%s: URL() = %s, want %s", c.url, s.URL(), c.want)
		case !c.ok && err == nil:
			t.Errorf("%s was accepted", c.url)
		case !c.ok && !strings.Contains(err.Error(), c.want):
			t.Errorf("%s: %q does not say %q", c.url, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: the sentence tells a secret: %v", c.url, err)
		}
	}
}

// TestAgainstMinIO opens real stores in each way that credentials can be given, and probes them.
func TestAgainstMinIO(t *testing.T) {
	b := objecttest.Shared(t)
	minio := "minio://" + b.Endpoint + "/" + b.Bucket + "/p?secure=false"
	s3 := "s3://" + b.Bucket + "/p?region=us-east-1&endpoint=http://" + b.Endpoint
	for name, c := range map[string]struct {
		url string
		env [][2]string
	}{
		"minio, credentials file": {b.StoreURL("minio", "p"), nil},
		"s3, credentials file":    {b.StoreURL("s3", "p"), nil},
		"s3, file before environment": {b.StoreURL("s3", "p"),
			[][2]string{{"AWS_ACCESS_KEY_ID", "wrong"}, {"AWS_SECRET_ACCESS_KEY", "wrong"}}},
		"minio, MINIO_ACCESS_KEY":  {minio, [][2]string{{"MINIO_ACCESS_KEY", b.AccessKey}, {"MINIO_SECRET_KEY", b.SecretKey}}},
		"minio, MINIO_ROOT_USER":   {minio, [][2]string{{"MINIO_ROOT_USER", b.AccessKey}, {"MINIO_ROOT_PASSWORD", b.SecretKey}}},
		"minio, AWS_ACCESS_KEY_ID": {minio, [][2]string{{"AWS_ACCESS_KEY_ID", b.AccessKey}, {"AWS_SECRET_ACCESS_KEY", b.SecretKey}}},
		"s3, AWS_ACCESS_KEY_ID":    {s3, [][2]string{{"AWS_ACCESS_KEY_ID", b.AccessKey}, {"AWS_SECRET_ACCESS_KEY", b.SecretKey}}},
		"minio, shared AWS file":   {minio + "&profile=default", [][2]string{{"AWS_SHARED_CREDENTIALS_FILE", b.CredentialsFile}}},
		"s3, shared AWS file":      {s3 + "&profile=default", [][2]string{{"AWS_SHARED_CREDENTIALS_FILE", b.CredentialsFile}}},
	} {
		t.Run(name, func(t *testing.T) {
			clear(t)
			for _, e := range c.env {
				t.Setenv(e[0], e[1])
			}
			reg := prometheus.NewRegistry()
			s, err := open.Open(t.Context(), c.url, open.Options{Registerer: reg})
			if err != nil {
				t.Fatal(err)
			}
			if err := object.Probe(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			if families, err := reg.Gather(); err != nil || len(families) == 0 {
				t.Fatalf("no metrics: %v", err)
			}
		})
	}
}

// TestProbeSaysWhatToDo meets the mistakes that people make at start.
func TestProbeSaysWhatToDo(t *testing.T) {
	b := objecttest.Shared(t)
	wrongSecret := write(t, "[default]\naws_access_key_id = "+b.AccessKey+"\naws_secret_access_key = hush-wrong-secret\n")
	wrongKey := write(t, "[default]\naws_access_key_id = nobody\naws_secret_access_key = hush-wrong-secret\n")
	s3 := "region=us-east-1&endpoint=http://" + b.Endpoint
	for name, c := range map[string]struct {
		url  string
		want []string
		is   error
	}{
		"minio, wrong secret":   {"minio://" + b.Endpoint + "/" + b.Bucket + "?secure=false&credentials=" + wrongSecret, []string{"check the credentials"}, object.ErrDenied},
		"minio, wrong key":      {"minio://" + b.Endpoint + "/" + b.Bucket + "?secure=false&credentials=" + wrongKey, []string{"check the credentials"}, object.ErrDenied},
		"minio, missing bucket": {"minio://" + b.Endpoint + "/no-such-bucket?secure=false&credentials=" + b.CredentialsFile, []string{"make the bucket"}, object.ErrNoBucket},
		"minio, unreachable":    {"minio://127.0.0.1:1/bucket?secure=false&credentials=" + b.CredentialsFile, []string{"check that the endpoint", "127.0.0.1:1"}, object.ErrUnavailable},
		"minio, TLS":            {"minio://" + b.Endpoint + "/" + b.Bucket + "?credentials=" + b.CredentialsFile, []string{"check that the endpoint", "secure=false"}, object.ErrUnavailable},
		"s3, wrong secret":      {"s3://" + b.Bucket + "?" + s3 + "&credentials=" + wrongSecret, []string{"check the credentials"}, object.ErrDenied},
		"s3, wrong key":         {"s3://" + b.Bucket + "?" + s3 + "&credentials=" + wrongKey, []string{"check the credentials"}, object.ErrDenied},
		"s3, no credentials":    {"s3://" + b.Bucket + "?" + s3, []string{"check the credentials"}, object.ErrDenied},
		"s3, missing bucket":    {"s3://no-such-bucket?" + s3 + "&credentials=" + b.CredentialsFile, []string{"make the bucket"}, object.ErrNoBucket},
		"s3, unreachable":       {"s3://bucket?region=x&endpoint=http://127.0.0.1:1&credentials=" + b.CredentialsFile, []string{"check that the endpoint", "127.0.0.1:1"}, object.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			clear(t)
			s, err := open.Open(t.Context(), c.url, open.Options{NoRetry: true})
			if err != nil {
				t.Fatal(err)
			}
			err = object.Probe(t.Context(), s)
			if !errors.Is(err, c.is) {
				t.Fatalf("%v, want %v", err, c.is)
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not say %q", err, w)
				}
			}
			if strings.Contains(err.Error(), "hush") || strings.Contains(err.Error(), b.SecretKey) {
				t.Errorf("the sentence tells a secret: %v", err)
			}
			t.Log(err)
		})
	}
}

// TestReadOnlyMakesNoFolder: who only looks leaves nothing behind.
func TestReadOnlyMakesNoFolder(t *testing.T) {
	nosuch := filepath.Join(t.TempDir(), "nosuch")
	_, err := open.Open(t.Context(), "dir://"+nosuch, open.Options{ReadOnly: true})
	if !errors.Is(err, object.ErrNoBucket) || !strings.Contains(err.Error(), nosuch) {
		t.Fatalf("a folder that is not there: %v", err)
	}
	if _, err := os.Stat(nosuch); err == nil {
		t.Fatal("the folder was made")
	}
}
