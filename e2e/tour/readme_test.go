package tour

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/e2e/harness"
)

// TestReadme runs the README's "Five minutes" as they stand there, in an empty folder. A line that starts the broker
// runs beside the others, as in the terminal of its own that the README asks for; addresses come from the environment,
// because a test cannot have the default ones.
func TestReadme(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	blocks := shellBlocks(t, string(readme), "## Five minutes")
	require.GreaterOrEqual(t, len(blocks), 4, "blocks of the tour")

	w := newWorkplace(t)
	var outputs []string
	for _, block := range blocks {
		outputs = append(outputs, w.paste(block))
	}
	require.NotNil(t, w.broker, "no block starts the broker")

	all := strings.Join(outputs, "")
	require.Contains(t, all, "visits created")
	require.Contains(t, all, "alice\t1577836800000\tfirst visit\n")
	require.Regexp(t, `(?m)^Offset 1 is `, all, "tier explain says where the offset lives")
	last := outputs[len(outputs)-1]
	require.Regexp(t, `(?m)^ *visits +0 +3\.\.3 .* 0\.\.3 `, last, "the local copy is gone and the archive has all")
	require.Regexp(t, `(?m)^\{"topic":"visits","partition":0,"offset":1,"timestamp":"2021-01-01T00:00:00Z","key":"bob"`, last)
	require.NotRegexp(t, `(?m)^\{.*"offset":0,`, last, "records from before 2020-06-01 were not asked for")
	require.Contains(t, last, `payload: "first visit"`, "the dump of the archived segment")
}

// shellBlocks are the README's ```sh blocks below a heading, up to the next heading of its rank.
func shellBlocks(t *testing.T, readme, heading string) (blocks []string) {
	t.Helper()
	_, section, found := strings.Cut(readme, "\n"+heading+"\n")
	require.True(t, found, "the README has no section %q", heading)
	section, _, _ = strings.Cut(section, "\n## ")
	for _, m := range regexp.MustCompile("(?ms)^```sh\n(.*?)^```$").FindAllStringSubmatch(section, -1) {
		blocks = append(blocks, m[1])
	}
	return blocks
}

// workplace is the folder in which a reader of the README pastes its blocks.
type workplace struct {
	t      *testing.T
	dir    string
	env    []string
	http   string
	broker *exec.Cmd
	log    bytes.Buffer
}

func newWorkplace(t *testing.T) *workplace {
	w := &workplace{t: t, dir: t.TempDir(), http: harness.FreeAddr(t)}
	kafka := harness.FreeAddr(t)
	binary, err := harness.Binary("")
	require.NoError(t, err)
	require.NoError(t, os.Mkdir(filepath.Join(w.dir, "bin"), 0o755))
	require.NoError(t, os.Symlink(binary, filepath.Join(w.dir, "bin", "firn")))
	// What make build does has been done: other tests are for the Makefile.
	require.NoError(t, os.WriteFile(filepath.Join(w.dir, "Makefile"), []byte("build: bin/firn\n"), 0o600))
	w.env = append(os.Environ(), "FIRN_KAFKA="+kafka, "FIRN_HTTP="+w.http, "FIRN_BOOTSTRAP="+kafka, "FIRN_ADMIN="+w.http,
		"PATH="+filepath.Join(w.dir, "bin")+":"+os.Getenv("PATH"))
	return w
}

// paste runs a block as a person does who pastes it into bash, and gives what it printed. Every command must succeed.
func (w *workplace) paste(block string) string {
	w.t.Helper()
	var here []string
	for line := range strings.Lines(block) {
		if strings.HasPrefix(line, "firn dev") {
			w.start(line)
			continue
		}
		here = append(here, line)
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-e", "-c", strings.Join(here, ""))
	cmd.Dir, cmd.Env = w.dir, w.env
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	err := cmd.Run()
	require.NoError(w.t, err, "the README's block\n%s\nprinted\n%s%s", block, out.String(), complaints.String())
	w.t.Logf("%s\n%s%s", block, out.String(), complaints.String())
	return out.String()
}

// start runs the line that starts the broker, which ends with the test, and waits until it is ready.
func (w *workplace) start(line string) {
	w.t.Helper()
	require.Nil(w.t, w.broker, "a second broker: %s", line)
	w.broker = exec.Command("bash", "-c", "exec "+line)
	w.broker.Dir, w.broker.Env = w.dir, w.env
	w.broker.Stdout, w.broker.Stderr = &w.log, &w.log
	w.broker.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(w.t, w.broker.Start())
	w.t.Cleanup(func() {
		_ = w.broker.Process.Signal(syscall.SIGTERM) // fails only when it has ended already
		if err := w.broker.Wait(); err != nil || w.t.Failed() {
			w.t.Errorf("the broker ended with %v; its log:\n%s", err, w.log.String())
		}
	})
	harness.Eventually(w.t, time.Minute, "the broker is not ready", func() bool {
		res, err := http.Get("http://" + w.http + "/readyz")
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
}

// TestDumpAsJSON: a dump for scripts is one JSON object a line, of both kinds of segment, and looking changes nothing in
// a store that is in use.
func TestDumpAsJSON(t *testing.T) {
	t.Parallel()
	b := harness.Start(t, harness.Options{})
	b.MustRun("", "topic", "create", "visits", "-p", "1", "-c", "firn.remote.upload.max.lag.ms=1000")
	b.MustRun(visits, "produce", "visits", "--format", "key-time-value")
	b.WaitArchived(t, "visits", time.Minute)
	cold := anObject(t, filepath.Join(b.Options.Data, "store"))
	hot, err := filepath.Glob(filepath.Join(b.Options.Data, "*", "visits-0", "*.log"))
	require.NoError(t, err)
	require.NotEmpty(t, hot)
	for _, from := range []string{hot[0], cold, "dir://" + cold} {
		values := []any{}
		for line := range strings.Lines(b.MustRun("", "segment", "dump", "--deep", "-o", "json", from)) {
			var v map[string]any
			require.NoError(t, json.Unmarshal([]byte(line), &v), line)
			if v["type"] == "record" {
				values = append(values, v["value"])
			}
		}
		require.Equal(t, []any{"first visit", "new year 2021", "new year 2024"}, values, from)
	}
	beside, err := os.ReadDir(filepath.Dir(cold))
	require.NoError(t, err)
	for _, e := range beside {
		require.NotEqual(t, ".firn", e.Name(), "a dump left something beside the object")
	}
}
