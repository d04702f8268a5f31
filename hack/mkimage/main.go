// Command mkimage makes an image archive, as docker save would, from folders and tar files, with
// no container engine: one layer each.
//
//	mkimage --output FILE [--entrypoint WORD]... [--cmd WORD]... [--env NAME=VALUE]...
//	        [--expose PORT/PROTOCOL]... [--user USER] [--workdir DIR] NAME... -- LAYER...
//
// Equal inputs make equal archives: times and owners of a folder's files are left out.
package main

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/spf13/pflag"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "mkimage:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	flags := pflag.NewFlagSet("mkimage", pflag.ContinueOnError)
	output := flags.String("output", "", "archive to write")
	config := v1.Config{ExposedPorts: map[string]struct{}{}}
	flags.StringArrayVar(&config.Entrypoint, "entrypoint", nil, "a word of the entrypoint")
	flags.StringArrayVar(&config.Cmd, "cmd", nil, "a word of the default command")
	flags.StringArrayVar(&config.Env, "env", []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, "a variable")
	ports := flags.StringArray("expose", nil, "a port, such as 80/tcp")
	flags.StringVar(&config.User, "user", "", "user to run as")
	flags.StringVar(&config.WorkingDir, "workdir", "", "folder to run in")
	if err := flags.Parse(args); err != nil {
		return err
	}
	for _, p := range *ports {
		config.ExposedPorts[p] = struct{}{}
	}
	split := flags.ArgsLenAtDash()
	if *output == "" || split < 1 || split == flags.NArg() {
		return errors.New("usage: mkimage --output FILE [OPTIONS] NAME... -- LAYER...")
	}
	image, err := build(config, flags.Args()[split:])
	if err != nil {
		return err
	}
	tags := map[name.Tag]v1.Image{}
	for _, n := range flags.Args()[:split] {
		tag, err := name.NewTag(n)
		if err != nil {
			return err
		}
		tags[tag] = image
	}
	return tarball.MultiWriteToFile(*output, tags)
}

func build(config v1.Config, paths []string) (v1.Image, error) {
	image, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{
		OS: "linux", Architecture: "amd64", Config: config, RootFS: v1.RootFS{Type: "layers"}})
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		open := func() (io.ReadCloser, error) { return os.Open(path) }
		if info, err := os.Stat(path); err != nil {
			return nil, err
		} else if info.IsDir() {
			open = func() (io.ReadCloser, error) { return archive(path), nil }
		}
		layer, err := tarball.LayerFromOpener(open, tarball.WithCompressedCaching, tarball.WithCompressionLevel(gzip.BestSpeed))
		if err != nil {
			return nil, fmt.Errorf("reading layer %s: %w", path, err)
		}
		if image, err = mutate.AppendLayers(image, layer); err != nil {
			return nil, err
		}
	}
	return image, nil
}

// archive is the content of a folder in tar format.
func archive(dir string) io.ReadCloser {
	r, w := io.Pipe()
	go func() {
		t := tar.NewWriter(w)
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || path == dir {
				return err
			}
			return add(t, dir, path, entry)
		})
		w.CloseWithError(errors.Join(err, t.Close()))
	}()
	return r
}

func add(t *tar.Writer, dir, path string, entry fs.DirEntry) error {
	info, err := entry.Info()
	if err != nil {
		return err
	}
	link := ""
	if info.Mode()&fs.ModeSymlink != 0 {
		if link, err = os.Readlink(path); err != nil {
			return err
		}
	}
	header, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return err
	}
	if header.Name, err = filepath.Rel(dir, path); err != nil {
		return err
	}
	header.ModTime, header.AccessTime, header.ChangeTime = time.Unix(0, 0), time.Time{}, time.Time{}
	header.Uid, header.Gid, header.Uname, header.Gname = 0, 0, "", ""
	if err := t.WriteHeader(header); err != nil || !info.Mode().IsRegular() {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(t, f)
	return err
}
