package store

import (
	"errors"
	"fmt"
	"os"

	"github.com/minio/minio-go/v7/pkg/credentials"
)

// secrets implements credentials.Provider. It is asked before each request.
type secrets struct{ file string }

func (s secrets) RetrieveWithCredContext(c *credentials.CredContext) (credentials.Value, error) {
	value, err := s.read(c)
	if err == nil && (value.AccessKeyID == "" || value.SecretAccessKey == "") {
		err = errors.New("one of the two keys lacks")
	}
	if err != nil {
		return value, fmt.Errorf("%w: no credentials: %w: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a "+
			"file of credentials", ErrDenied, err)
	}
	return value, nil
}

func (s secrets) read(c *credentials.CredContext) (credentials.Value, error) {
	if s.file == "" && (os.Getenv("AWS_ACCESS_KEY_ID") != "" || os.Getenv("AWS_SECRET_ACCESS_KEY") != "") {
		return (&credentials.EnvAWS{}).RetrieveWithCredContext(c)
	}
	return (&credentials.FileAWSCredentials{Filename: s.file}).RetrieveWithCredContext(c)
}

func (s secrets) Retrieve() (credentials.Value, error) { return s.RetrieveWithCredContext(nil) }

// IsExpired is what makes it be asked each time.
func (secrets) IsExpired() bool { return true }
