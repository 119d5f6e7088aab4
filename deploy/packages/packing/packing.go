// Package packing writes archives whose bytes depend on nothing but what they are told: no clock, no user, no order in
// which a disk lists files.
package packing

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// File is an entry of an archive: a file with Text, or with the content of the file Path if that is set, or a
// directory.
type File struct {
	Name     string      // in the archive, with slashes
	Mode     fs.FileMode // fs.ModeDir of a directory, fs.ModeSticky, and permissions
	Text     []byte
	Path     string
	UID, GID int
}

// open returns the content of a file and its size.
func (f *File) open() (io.ReadCloser, int64, error) {
	if f.Path == "" {
		return io.NopCloser(bytes.NewReader(f.Text)), int64(len(f.Text)), nil
	}
	file, err := os.Open(f.Path)
	if err != nil {
		return nil, 0, err
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return nil, 0, err
	}
	return file, info.Size(), nil
}

// Tar writes the files in their order as a tar archive, all of them changed at the given time, of whole seconds.
func Tar(to io.Writer, files []File, at time.Time) error {
	w := tar.NewWriter(to)
	for i := range files {
		if err := addToTar(w, &files[i], at); err != nil {
			return fmt.Errorf("pack %s: %w", files[i].Name, err)
		}
	}
	return w.Close()
}

func addToTar(w *tar.Writer, f *File, at time.Time) error {
	header := &tar.Header{
		Name: f.Name, Mode: int64(f.Mode.Perm()), ModTime: at.UTC().Truncate(time.Second), Uid: f.UID, Gid: f.GID,
		Typeflag: tar.TypeReg, Format: tar.FormatUSTAR,
	}
	if f.Mode&fs.ModeSticky != 0 {
		header.Mode |= 0o1000
	}
	if f.Mode.IsDir() {
		header.Typeflag, header.Name = tar.TypeDir, f.Name+"/"
		return w.WriteHeader(header)
	}
	content, size, err := f.open()
	if err != nil {
		return err
	}
	defer content.Close()
	header.Size = size
	if err := w.WriteHeader(header); err != nil {
		return err
	}
	_, err = io.Copy(w, content)
	return err
}

// TarGzip is Tar, compressed.
func TarGzip(to io.Writer, files []File, at time.Time) error {
	w, err := gzip.NewWriterLevel(to, gzip.BestCompression)
	if err != nil {
		return err
	}
	if err := Tar(w, files, at); err != nil {
		return err
	}
	return w.Close()
}

// Zip writes the files in their order as a zip archive. Directories are left out: zip makes them by itself.
func Zip(to io.Writer, files []File, at time.Time) error {
	w := zip.NewWriter(to)
	for i := range files {
		f := &files[i]
		if f.Mode.IsDir() {
			continue
		}
		header := &zip.FileHeader{Name: f.Name, Method: zip.Deflate, Modified: at.UTC().Truncate(time.Second)}
		header.SetMode(f.Mode)
		entry, err := w.CreateHeader(header)
		if err != nil {
			return fmt.Errorf("pack %s: %w", f.Name, err)
		}
		content, _, err := f.open()
		if err != nil {
			return fmt.Errorf("pack %s: %w", f.Name, err)
		}
		_, err = io.Copy(entry, content)
		content.Close()
		if err != nil {
			return fmt.Errorf("pack %s: %w", f.Name, err)
		}
	}
	return w.Close()
}
