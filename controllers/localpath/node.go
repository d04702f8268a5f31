package localpath

import (
	"context"
	"encoding/json"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
)

// folders are the volumes of nodes, by the names of node and volume.
type folders interface {
	// make makes the folder unless it is there, and tells its path.
	make(ctx context.Context, node, volume string) (path string, err error)
	// remove removes it, and is content when it is gone.
	remove(ctx context.Context, node, volume string) error
}

// agents reaches the nodes' agents through the API server.
type agents struct{ rest rest.Interface }

func (a agents) make(ctx context.Context, node, volume string) (string, error) {
	data, err := a.rest.Put().Resource("nodes").Name(node).SubResource("proxy").Suffix("localvolumes", volume).Do(ctx).Raw()
	if err != nil {
		return "", fmt.Errorf("making folder %s on node %s: %w", volume, node, explain(err, data))
	}
	var made struct {
		Path string `json:"path"`
	}
	if err := json.Unmarshal(data, &made); err != nil {
		return "", fmt.Errorf("reading the answer of node %s: %w", node, err)
	}
	if made.Path == "" {
		return "", fmt.Errorf("node %s does not say where volume %s is", node, volume)
	}
	return made.Path, nil
}

func (a agents) remove(ctx context.Context, node, volume string) error {
	data, err := a.rest.Delete().Resource("nodes").Name(node).SubResource("proxy").Suffix("localvolumes", volume).Do(ctx).Raw()
	if err != nil {
		return fmt.Errorf("removing folder %s of node %s: %w", volume, node, explain(err, data))
	}
	return nil
}

// explain keeps errors of the node from passing for outcomes of the API's own
// objects, and shows what the node said.
func explain(err error, data []byte) error {
	switch {
	case apierrors.IsNotFound(err):
		return fmt.Errorf("its agent has no local volumes: %v", err)
	case apierrors.IsInternalError(err) && len(data) > 0:
		return fmt.Errorf("%v: %s", err, data)
	}
	return err
}
