package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/images/usage"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"google.golang.org/grpc"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const (
	// namespace is where containerd keeps what is Kubernetes'.
	namespace = "k8s.io"
	// criLabel marks an image as one that the CRI plugin shows.
	criLabel = "io.cri-containerd.image"

	connectTimeout = 5 * time.Second
	visibleTimeout = 10 * time.Second
)

// Image is one that containerd has.
type Image struct {
	// Name is the full name, such as docker.io/library/mysql:latest.
	Name string
	// Digest is that of the manifest or index.
	Digest string
	// Size is what the image takes as it is stored, in bytes.
	Size    int64
	Created time.Time
}

// Normalize turns a name as people write it into the full name.
func Normalize(name string) (string, error) {
	ref, err := reference.ParseDockerRef(name)
	if err != nil {
		return "", fmt.Errorf("parsing image name %q: %w", name, err)
	}
	return ref.String(), nil
}

// store is a connection to containerd, with its own client and CRI's image service.
type store struct {
	*client.Client
	cri runtimev1.ImageServiceClient
}

func open(socket string) (*store, error) {
	if _, err := os.Stat(socket); err != nil {
		return nil, fmt.Errorf("finding containerd (is the node up?): %w", err)
	}
	c, err := client.New(socket, client.WithDefaultNamespace(namespace), client.WithTimeout(connectTimeout))
	if err != nil {
		return nil, fmt.Errorf("connecting to containerd: %w", err)
	}
	connection, ok := c.Conn().(*grpc.ClientConn)
	if !ok {
		c.Close()
		return nil, errors.New("connecting to containerd: the client has no connection")
	}
	return &store{c, runtimev1.NewImageServiceClient(connection)}, nil
}

// List returns the images by name. What has no name of its own is left out.
func List(ctx context.Context, socket string) ([]Image, error) {
	s, err := open(socket)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	found, err := s.ImageService().List(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing images: %w", err)
	}
	var result []Image
	for _, i := range found {
		// The CRI plugin files each image under its id, too.
		if strings.HasPrefix(i.Name, "sha256:") {
			continue
		}
		described, err := s.describe(ctx, i)
		if err != nil {
			return nil, err
		}
		result = append(result, described)
	}
	slices.SortFunc(result, func(a, b Image) int { return strings.Compare(a.Name, b.Name) })
	return result, nil
}

// Remove takes a name away, and with the last name the image.
func Remove(ctx context.Context, socket, name string) error {
	full, err := Normalize(name)
	if err != nil {
		return err
	}
	s, err := open(socket)
	if err != nil {
		return err
	}
	defer s.Close()
	status, err := s.cri.ImageStatus(ctx, &runtimev1.ImageStatusRequest{Image: &runtimev1.ImageSpec{Image: full}})
	if err != nil {
		return fmt.Errorf("removing image %s: %w", full, err)
	}
	if status.Image == nil {
		return fmt.Errorf("removing image %s: %w", full, errdefs.ErrNotFound)
	}
	names := append(status.Image.RepoTags, status.Image.RepoDigests...)
	if len(names) == 1 {
		_, err = s.cri.RemoveImage(ctx, &runtimev1.RemoveImageRequest{Image: &runtimev1.ImageSpec{Image: status.Image.Id}})
	} else {
		err = s.ImageService().Delete(ctx, full, images.SynchronousDelete())
	}
	if err != nil {
		return fmt.Errorf("removing image %s: %w", full, err)
	}
	return s.awaitStatus(ctx, full, func(i *runtimev1.Image) bool { return i == nil })
}

// describe reads what List tells. The size is that of the layers as they came,
// which may be gone since.
func (s *store) describe(ctx context.Context, i images.Image) (Image, error) {
	size, err := usage.CalculateImageUsage(ctx, i, s.ContentStore(), usage.WithManifestLimit(platforms.Default(), 1), usage.WithManifestUsage())
	if err != nil {
		return Image{}, fmt.Errorf("measuring image %s: %w", i.Name, err)
	}
	return Image{Name: i.Name, Digest: i.Target.Digest.String(), Size: size, Created: i.CreatedAt}, nil
}

// awaitStatus returns when CRI's view of an image is as it should be. The plugin
// learns of a change by an event, a moment after it was made.
func (s *store) awaitStatus(ctx context.Context, name string, right func(*runtimev1.Image) bool) error {
	ctx, cancel := context.WithTimeout(ctx, visibleTimeout)
	defer cancel()
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	for {
		status, err := s.cri.ImageStatus(ctx, &runtimev1.ImageStatusRequest{Image: &runtimev1.ImageSpec{Image: name}})
		if err != nil {
			return fmt.Errorf("asking for image %s: %w", name, err)
		}
		if right(status.Image) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for containerd to notice the change of image %s: %w", name, ctx.Err())
		case <-ticker.C:
		}
	}
}
