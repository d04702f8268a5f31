package cluster

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"

	"coracle.dev/coracle/nodeagent"
	"coracle.dev/coracle/nodeagent/image"
)

// Images is the image store of a cluster's node.
type Images struct{ socket string }

// Image is an image in the store.
type Image = image.Image

// OpenImages finds the image store of a cluster that runs.
func OpenImages(c *Config) (Images, error) {
	socket := nodeagent.RuntimeConfig(agentPaths(c)).Socket()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return Images{}, fmt.Errorf("containerd of cluster %q does not answer: %w; start the cluster by 'coracle up --name %s'", c.Name, err, c.Name)
	}
	return Images{socket}, conn.Close()
}

// Import loads an archive; file "-" is stdin. It returns the names of the images in it.
func (s Images) Import(ctx context.Context, file string, stdin io.Reader) ([]string, error) {
	in := stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	images, err := image.Import(ctx, s.socket, in)
	var names []string
	for _, i := range images {
		names = append(names, i.Name)
	}
	return names, err
}

// List returns the images by name.
func (s Images) List(ctx context.Context) ([]Image, error) { return image.List(ctx, s.socket) }

// Remove removes an image by its name, which may be short.
func (s Images) Remove(ctx context.Context, name string) error {
	return image.Remove(ctx, s.socket, name)
}

// containerdProcess is the id of the cluster's containerd, or 0: that of the process that listens on
// its socket.
func containerdProcess(c *Config) int {
	return peerProcess(nodeagent.RuntimeConfig(agentPaths(c)).Socket())
}
