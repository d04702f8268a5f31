package runtime

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	goruntime "runtime"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	imagespec "github.com/opencontainers/image-spec/specs-go/v1"

	"coracle.dev/coracle/nodeagent/runtime/sandbox"
)

// ensurePauseImage gives the stock handler the image that it runs in each
// sandbox, so that no registry is asked for one: it holds the holder.
func ensurePauseImage(ctx context.Context, c Config) error {
	cl, err := client.New(c.socket(), client.WithDefaultNamespace(sandbox.Namespace))
	if err != nil {
		return fmt.Errorf("connecting to containerd: %w", err)
	}
	defer cl.Close()
	if _, err := cl.GetImage(ctx, pauseImage); err == nil || !errdefs.IsNotFound(err) {
		return err
	}
	holder, err := readHelper(holderName)
	if err != nil {
		return err
	}
	archive, err := pauseArchive(holder)
	if err != nil {
		return fmt.Errorf("building the pause image: %w", err)
	}
	if _, err := cl.Import(ctx, bytes.NewReader(archive), client.WithImageRefTranslator(func(string) string { return pauseImage })); err != nil {
		return fmt.Errorf("importing the pause image: %w", err)
	}
	return nil
}

// pauseArchive is an OCI image layout in a tar, of an image with one file.
func pauseArchive(holder []byte) ([]byte, error) {
	layer, err := tarOf(file{"coracle-hold", 0o755, holder})
	if err != nil {
		return nil, err
	}
	config, err := json.Marshal(imagespec.Image{
		Platform: imagespec.Platform{OS: "linux", Architecture: goruntime.GOARCH},
		Config:   imagespec.ImageConfig{Entrypoint: []string{"/coracle-hold"}, User: "65535:65535"},
		RootFS:   imagespec.RootFS{Type: "layers", DiffIDs: []digest.Digest{digest.FromBytes(layer)}},
	})
	if err != nil {
		return nil, err
	}
	manifest, err := json.Marshal(imagespec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: imagespec.MediaTypeImageManifest,
		Config:    describe(imagespec.MediaTypeImageConfig, config),
		Layers:    []imagespec.Descriptor{describe(imagespec.MediaTypeImageLayer, layer)},
	})
	if err != nil {
		return nil, err
	}
	entry := describe(imagespec.MediaTypeImageManifest, manifest)
	entry.Annotations = map[string]string{imagespec.AnnotationRefName: pauseImage}
	index, err := json.Marshal(imagespec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, Manifests: []imagespec.Descriptor{entry}})
	if err != nil {
		return nil, err
	}
	return tarOf(
		file{imagespec.ImageLayoutFile, 0o644, []byte(`{"imageLayoutVersion":"1.0.0"}`)},
		file{blob(layer), 0o644, layer}, file{blob(config), 0o644, config}, file{blob(manifest), 0o644, manifest},
		file{imagespec.ImageIndexFile, 0o644, index},
	)
}

type file struct {
	name string
	mode int64
	data []byte
}

func blob(data []byte) string { return "blobs/sha256/" + digest.FromBytes(data).Encoded() }

func describe(mediaType string, data []byte) imagespec.Descriptor {
	return imagespec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
}

func tarOf(files ...file) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		header := &tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.data)), ModTime: time.Unix(0, 0), Typeflag: tar.TypeReg}
		if err := w.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.data); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), w.Close()
}
