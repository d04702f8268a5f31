package runtime

import (
	"bytes"
	"context"
	"fmt"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"
	imagespec "github.com/opencontainers/image-spec/specs-go/v1"

	"coracle.dev/coracle/nodeagent/image"
	"coracle.dev/coracle/nodeagent/image/archive"
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
	var b bytes.Buffer
	if err := archive.Write(&b, archive.Image{
		Name:   pauseImage,
		Config: imagespec.ImageConfig{Entrypoint: []string{"/coracle-hold"}, User: "65535:65535"},
		Layers: []archive.Layer{archive.Files(archive.File{Path: "coracle-hold", Mode: 0o755, Data: holder})},
	}); err != nil {
		return fmt.Errorf("building the pause image: %w", err)
	}
	if _, err := image.Import(ctx, c.socket(), &b); err != nil {
		return fmt.Errorf("importing the pause image: %w", err)
	}
	return nil
}
