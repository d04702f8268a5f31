package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/pkg/archive/compression"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// ImportFile imports from a file.
func ImportFile(ctx context.Context, socket, path string) ([]Image, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening image archive: %w", err)
	}
	defer file.Close()
	return Import(ctx, socket, file)
}

// Import loads the images of an archive, which is what docker save writes or a
// tar of an OCI layout, compressed or not. It returns them once they are unpacked
// and pods can use them. Images without a name are left out; if none has one, that
// is an error.
func Import(ctx context.Context, socket string, archived io.Reader) ([]Image, error) {
	s, err := open(socket)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	// What is imported and not yet in use would be swept away.
	ctx, release, err := s.WithLease(ctx)
	if err != nil {
		return nil, fmt.Errorf("importing images: %w", err)
	}
	defer func() { _ = release(context.WithoutCancel(ctx)) }()
	plain, err := compression.DecompressStream(archived)
	if err != nil {
		return nil, fmt.Errorf("decompressing image archive: %w", err)
	}
	defer plain.Close()
	// One platform, since the others cannot run here and may not be in the archive.
	imported, err := s.Client.Import(ctx, plain,
		client.WithImportPlatform(platforms.Default()),
		client.WithImageLabels(map[string]string{criLabel: "managed"}),
		client.WithImageRefTranslator(translate),
		client.WithDiscardUnpackedLayers())
	if err != nil {
		return nil, fmt.Errorf("importing images: %w", err)
	}
	if len(imported) == 0 {
		return nil, errors.New("importing images: no image in the archive has a name")
	}
	snapshotter, err := s.snapshotter(ctx)
	if err != nil {
		return nil, err
	}
	var result []Image
	for _, i := range imported {
		described, err := s.finish(ctx, i, snapshotter)
		if err != nil {
			return nil, fmt.Errorf("importing image %s: %w", i.Name, err)
		}
		result = append(result, described)
	}
	return result, nil
}

// translate makes full names of those in an OCI layout; what is no name is ignored.
func translate(name string) string {
	full, err := Normalize(name)
	if err != nil {
		return ""
	}
	return full
}

// finish gives the image its full name, unpacks it and waits until CRI has it.
func (s *store) finish(ctx context.Context, i images.Image, snapshotter string) (Image, error) {
	i, err := s.rename(ctx, i)
	if err != nil {
		return Image{}, err
	}
	unpacked := client.NewImage(s.Client, i)
	if err := unpacked.Unpack(ctx, snapshotter); err != nil {
		return Image{}, fmt.Errorf("unpacking: %w", err)
	}
	config, err := unpacked.Config(ctx)
	if err != nil {
		return Image{}, fmt.Errorf("reading the configuration: %w", err)
	}
	// The image's id is the digest of its configuration.
	id := config.Digest.String()
	if err := s.awaitStatus(ctx, i.Name, func(i *runtimev1.Image) bool { return i.GetId() == id }); err != nil {
		return Image{}, err
	}
	return s.describe(ctx, i)
}

func (s *store) rename(ctx context.Context, i images.Image) (images.Image, error) {
	full, err := Normalize(i.Name)
	if err != nil || full == i.Name {
		return i, err
	}
	short := i.Name
	i.Name = full
	named, err := s.ImageService().Update(ctx, i)
	if errdefs.IsNotFound(err) {
		named, err = s.ImageService().Create(ctx, i)
	}
	if err != nil {
		return i, fmt.Errorf("naming it %s: %w", full, err)
	}
	return named, s.ImageService().Delete(ctx, short)
}

// snapshotter is the one that CRI unpacks images with, which it shows by where
// they are.
func (s *store) snapshotter(ctx context.Context) (string, error) {
	info, err := s.cri.ImageFsInfo(ctx, &runtimev1.ImageFsInfoRequest{})
	if err != nil {
		return "", fmt.Errorf("asking where images are: %w", err)
	}
	for _, f := range info.ImageFilesystems {
		if name, ok := strings.CutPrefix(filepath.Base(f.GetFsId().GetMountpoint()), "io.containerd.snapshotter.v1."); ok {
			return name, nil
		}
	}
	return "", errors.New("asking where images are: containerd names no snapshotter")
}
