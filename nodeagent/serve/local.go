package serve

import (
	"errors"
	"net/http"

	"coracle.dev/coracle/nodeagent/volume"
)

// LocalVolumes are folders of the node that serve as persistent volumes.
type LocalVolumes interface {
	MakeLocal(name string) (path string, err error)
	RemoveLocal(name string) error
}

// makeLocal makes a volume unless it is there. This is Coracle's own: the
// provisioner of local paths calls it through the API server.
func (c Config) makeLocal(w http.ResponseWriter, r *http.Request) {
	path, err := c.LocalVolumes.MakeLocal(r.PathValue("volume"))
	if err != nil {
		http.Error(w, err.Error(), localStatus(err))
		return
	}
	writeJSON(w, r, map[string]string{"path": path})
}

func (c Config) removeLocal(w http.ResponseWriter, r *http.Request) {
	if err := c.LocalVolumes.RemoveLocal(r.PathValue("volume")); err != nil {
		http.Error(w, err.Error(), localStatus(err))
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func localStatus(err error) int {
	if errors.Is(err, volume.ErrName) {
		return http.StatusBadRequest
	}
	return http.StatusInternalServerError
}
