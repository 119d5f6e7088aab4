package store

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strings"
)

// s3Place is what the text of a place in an object storage says.
type s3Place struct {
	bucket, prefix string // the prefix without slashes at its ends
	endpoint       string // host, or host:port
	plain          bool   // http instead of https
	region         string
	text           string // what was written
}

const (
	amazon        = "s3.amazonaws.com"
	defaultRegion = "us-east-1" // what storages that know none take for theirs
)

var bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

func parseS3(where string) (p s3Place, err error) {
	wrong := func(format string, a ...any) (s3Place, error) {
		return p, fmt.Errorf("%w: %s: %s", ErrPlace, shown(where), fmt.Sprintf(format, a...))
	}
	u, err := url.Parse(where)
	if err != nil { // it has the text, and so perhaps a secret
		return wrong("it cannot be read as a URL: s3://bucket/prefix?endpoint=https://host:port&region=name")
	}
	if u.User != nil {
		return wrong("keys are not written here, where they are shown: set AWS_ACCESS_KEY_ID and " +
			"AWS_SECRET_ACCESS_KEY, or name a file of credentials")
	}
	if !bucketName.MatchString(u.Host) {
		return wrong("what is behind s3:// is not the name of a bucket")
	}
	p = s3Place{bucket: u.Host, prefix: strings.Trim(u.Path, "/"), text: where}
	if p.prefix != "" {
		if err := CheckName(p.prefix); err != nil {
			return wrong("the prefix: %v", err)
		}
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return wrong("what is behind ? cannot be read")
	}
	for name := range query {
		if strings.Contains(name, "@") {
			return wrong("keys are not written here, where they are shown")
		}
		if name != "endpoint" && name != "region" {
			return wrong("%q is not known here: behind ? there may be endpoint=https://host:port and region=name", name)
		}
		if len(query[name]) > 1 {
			return wrong("%s is there twice", name)
		}
	}
	p.region = query.Get("region")
	for _, name := range []string{"AWS_REGION", "AWS_DEFAULT_REGION"} {
		if p.region == "" {
			p.region = os.Getenv(name)
		}
	}
	if p.endpoint, p.plain, err = parseEndpoint(query.Get("endpoint")); err != nil {
		return wrong("endpoint: %v", err)
	}
	if p.region == "" && p.endpoint == amazon {
		return wrong("without an endpoint it is Amazon's, which needs a region: add ?region=NAME, or set AWS_REGION")
	}
	if p.region == "" {
		p.region = defaultRegion
	}
	return p, nil
}

func parseEndpoint(text string) (host string, plain bool, err error) {
	if text == "" {
		return amazon, false, nil
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return "", false, errors.New("it cannot be read: https://host:port")
	case u.User != nil:
		return "", false, errors.New("keys are not written here, where they are shown")
	case u.Scheme != "https" && u.Scheme != "http" || u.Host == "":
		return "", false, errors.New("it is https://host:port, or http:// if all may read what goes there")
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return "", false, errors.New("there is something behind the host and the port")
	}
	return u.Host, u.Scheme == "http", nil
}

// key returns the key of an object in the bucket; of "" it is that with which all keys begin.
func (p *s3Place) key(name string) string {
	if p.prefix == "" {
		return name
	}
	return p.prefix + "/" + name
}
