package minio

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/firnlog/firn/tier/object"
)

// findCredentials takes the first of: the file, the profile in mc's or Amazon's usual files, MINIO_ACCESS_KEY and
// MINIO_SECRET_KEY, MINIO_ROOT_USER and MINIO_ROOT_PASSWORD, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. What is named
// and not there is an error; nothing falls through to anonymous access.
func findCredentials(profile, file string) (*credentials.Credentials, error) {
	switch {
	case file != "":
		return fromFile(file, profile)
	case profile != "":
		return fromProfile(profile)
	}
	for _, names := range [][3]string{
		{"MINIO_ACCESS_KEY", "MINIO_SECRET_KEY"},
		{"MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD"},
		{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"},
	} {
		id, secret := os.Getenv(names[0]), os.Getenv(names[1])
		switch {
		case id != "" && secret != "":
			token := ""
			if names[2] != "" {
				token = os.Getenv(names[2])
			}
			return credentials.NewStaticV4(id, secret, token), nil
		case id != "" || secret != "":
			return nil, fmt.Errorf("%w: of %s and %s only one is set", object.ErrDenied, names[0], names[1])
		}
	}
	return nil, fmt.Errorf("%w: no credentials: set MINIO_ACCESS_KEY and MINIO_SECRET_KEY (or AWS_ACCESS_KEY_ID and "+
		"AWS_SECRET_ACCESS_KEY), or put profile= or credentials=/file into the store URL", object.ErrDenied)
}

// fromFile reads mc's config.json or an AWS credentials file, whichever it looks like.
func fromFile(file, profile string) (*credentials.Credentials, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%w: credentials file: %w", object.ErrDenied, err)
	}
	c := credentials.NewFileAWSCredentials(file, profile)
	if bytes.HasPrefix(bytes.TrimSpace(b), []byte("{")) {
		c = credentials.NewFileMinioClient(file, profile)
	}
	return usable(c, file, profile)
}

// fromProfile looks into mc's file, then Amazon's.
func fromProfile(profile string) (*credentials.Credentials, error) {
	if home, err := os.UserHomeDir(); err == nil {
		file := filepath.Join(home, ".mc", "config.json")
		if c, err := usable(credentials.NewFileMinioClient(file, profile), file, profile); err == nil {
			return c, nil
		}
	}
	return usable(credentials.NewFileAWSCredentials("", profile), "the usual files of mc and AWS", profile)
}

// usable makes sure that there are credentials, now rather than at the first request. Errors of the readers are not
// passed on: they may quote the file.
func usable(c *credentials.Credentials, file, profile string) (*credentials.Credentials, error) {
	v, err := c.GetWithContext(nil)
	if err != nil || v.AccessKeyID == "" || v.SecretAccessKey == "" {
		if profile == "" {
			profile = "the default"
		}
		return nil, fmt.Errorf("%w: %s has no credentials for profile %s", object.ErrDenied, file, profile)
	}
	return c, nil
}
