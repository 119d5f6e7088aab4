package durable

import "os"

// syncDir finds out whether the directory is there: names are the system's own affair, which refuses to be asked.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return d.Close()
}
