// Package archive writes container images as archives, without a container engine:
// the tar holds an OCI image layout and, for engines that know only that, the
// manifest.json of docker save.
//
// What it writes depends on the input alone, so that the same files give the same
// image. It knows nothing of registries, and images are for this machine's
// architecture.
package archive

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	goruntime "runtime"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	imagespec "github.com/opencontainers/image-spec/specs-go/v1"
)

// nameAnnotation is where containerd looks for an image's full name.
const nameAnnotation = "io.containerd.image.name"

// Image is what to write.
type Image struct {
	// Name is the full name, such as docker.io/library/busybox:1.
	Name   string
	Config imagespec.ImageConfig
	// Layers from the lowest up.
	Layers []Layer
}

// stored is a layer or document that has been written to a file or memory.
type stored struct {
	descriptor imagespec.Descriptor
	open       func() (io.ReadCloser, error)
	remove     func() error
}

// Write writes the image. Layers pass through temporary files, so that large ones
// need no memory.
func Write(w io.Writer, image Image) (failure error) {
	var layers []stored
	defer func() {
		for _, l := range layers {
			failure = errors.Join(failure, l.remove())
		}
	}()
	rootFS := imagespec.RootFS{Type: "layers"}
	for i, l := range image.Layers {
		s, err := store(l)
		if err != nil {
			return fmt.Errorf("writing layer %d of %s: %w", i, image.Name, err)
		}
		layers = append(layers, s)
		rootFS.DiffIDs = append(rootFS.DiffIDs, s.descriptor.Digest)
	}
	config, err := document(imagespec.MediaTypeImageConfig, imagespec.Image{
		Created:  &time.Time{},
		Platform: imagespec.Platform{OS: "linux", Architecture: goruntime.GOARCH},
		Config:   image.Config,
		RootFS:   rootFS,
	})
	if err != nil {
		return err
	}
	return writeLayout(w, image.Name, config, layers)
}

func writeLayout(w io.Writer, name string, config stored, layers []stored) error {
	manifest := imagespec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: imagespec.MediaTypeImageManifest,
		Config:    config.descriptor,
	}
	var paths []string
	for _, l := range layers {
		manifest.Layers = append(manifest.Layers, l.descriptor)
		paths = append(paths, blobPath(l.descriptor.Digest))
	}
	body, err := document(imagespec.MediaTypeImageManifest, manifest)
	if err != nil {
		return err
	}
	entry := body.descriptor
	entry.Annotations = map[string]string{nameAnnotation: name, imagespec.AnnotationRefName: name}
	index, err := document(imagespec.MediaTypeImageIndex, imagespec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: imagespec.MediaTypeImageIndex,
		Manifests: []imagespec.Descriptor{entry},
	})
	if err != nil {
		return err
	}
	docker, err := document("", []map[string]any{{
		"Config": blobPath(config.descriptor.Digest), "RepoTags": []string{name}, "Layers": paths,
	}})
	if err != nil {
		return err
	}
	layout, err := document("", imagespec.ImageLayout{Version: imagespec.ImageLayoutVersion})
	if err != nil {
		return err
	}
	t := tar.NewWriter(w)
	written := map[string]bool{}
	for _, s := range append(layers, config, body) {
		// Two layers may be the same.
		p := blobPath(s.descriptor.Digest)
		if written[p] {
			continue
		}
		written[p] = true
		if err := copyTo(t, p, s); err != nil {
			return err
		}
	}
	for _, f := range []struct {
		name string
		stored
	}{{"manifest.json", docker}, {imagespec.ImageLayoutFile, layout}, {imagespec.ImageIndexFile, index}} {
		if err := copyTo(t, f.name, f.stored); err != nil {
			return err
		}
	}
	return t.Close()
}

func blobPath(d digest.Digest) string {
	return path.Join(imagespec.ImageBlobsDir, d.Algorithm().String(), d.Encoded())
}

func document(mediaType string, content any) (stored, error) {
	data, err := json.Marshal(content)
	if err != nil {
		return stored{}, err
	}
	return stored{
		descriptor: imagespec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))},
		open:       func() (io.ReadCloser, error) { return io.NopCloser(newReader(data)), nil },
	}, nil
}

// store writes a layer to a temporary file to learn its size and digest.
func store(l Layer) (_ stored, failure error) {
	file, err := os.CreateTemp("", "coracle-layer-")
	if err != nil {
		return stored{}, err
	}
	remove := func() error { return errors.Join(file.Close(), os.Remove(file.Name())) }
	defer func() {
		if failure != nil {
			failure = errors.Join(failure, remove())
		}
	}()
	digester := digest.Canonical.Digester()
	if err := l.write(io.MultiWriter(file, digester.Hash())); err != nil {
		return stored{}, err
	}
	size, err := file.Seek(0, io.SeekCurrent)
	if err != nil {
		return stored{}, err
	}
	return stored{
		descriptor: imagespec.Descriptor{MediaType: imagespec.MediaTypeImageLayer, Digest: digester.Digest(), Size: size},
		open: func() (io.ReadCloser, error) {
			_, err := file.Seek(0, io.SeekStart)
			return io.NopCloser(file), err
		},
		remove: remove,
	}, nil
}

func copyTo(t *tar.Writer, name string, s stored) error {
	r, err := s.open()
	if err != nil {
		return err
	}
	defer r.Close()
	if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: s.descriptor.Size}); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	if _, err := io.Copy(t, r); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}
