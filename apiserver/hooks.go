package apiserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/registry/rest"
	genericapiserver "k8s.io/apiserver/pkg/server"

	"coracle.dev/coracle/apiserver/componentstatus"
	"coracle.dev/coracle/apiserver/controlplane"
	"coracle.dev/coracle/apiserver/storage"
)

// addHooks adds what happens once the server serves, and before it ends.
func (c *chain) addHooks(server *genericapiserver.GenericAPIServer, storages *served) error {
	keeper, err := c.keeper()
	if err != nil {
		return err
	}
	return errors.Join(
		server.AddPostStartHook("storage-readiness", func(hook genericapiserver.PostStartHookContext) error {
			return awaitStores(hook, readiness(storages))
		}),
		server.AddPostStartHook("control-plane-objects", func(hook genericapiserver.PostStartHookContext) error {
			if err := keeper.Start(hook); err != nil {
				return err
			}
			go keeper.Run(hook)
			return nil
		}),
		server.AddPreShutdownHook("leave-kubernetes-service", func() error {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			return keeper.Leave(ctx)
		}),
		c.operation.hooks(c, server),
		c.customHooks(server),
	)
}

func (c *chain) keeper() (*controlplane.Keeper, error) {
	trust, err := c.trust()
	if err != nil {
		return nil, err
	}
	k := &controlplane.Keeper{
		Client: c.Client, Address: c.Advertise, ServiceIP: c.ServiceIP, ServiceRange: c.ServiceRange, Port: c.port(), Trust: trust,
		Identity: identity(c.serverID()),
	}
	if !c.backend.Embedded() {
		if k.Leases, err = c.leases(); err != nil {
			return nil, err
		}
	}
	return k, nil
}

func identity(id string) controlplane.Identity {
	host, err := os.Hostname()
	if err != nil { // its hash is the ID, which is empty then, too
		host = ""
	}
	return controlplane.Identity{ID: id, Hostname: host, Instance: uuid.NewString()}
}

// leases makes the storage by which several API servers know of one another.
func (c *chain) leases() (controlplane.Leases, error) {
	gv := corev1.SchemeGroupVersion
	e, err := storage.NewEncoding(c.Codecs, gv, storage.Protobuf)
	if err != nil {
		return nil, err
	}
	s, err := c.backend.Raw(corev1.Resource("endpoints"), e, controlplane.LeasePrefix,
		func() runtime.Object { return &corev1.Endpoints{} }, func() runtime.Object { return &corev1.EndpointsList{} })
	if err != nil {
		return nil, err
	}
	return &controlplane.StoredLeases{Storage: s}, nil
}

// trust is what extension API servers need to know to trust what this server passes on to them.
func (c *chain) trust() (map[string]string, error) {
	t := map[string]string{}
	if c.ClientCA != nil {
		t["client-ca-file"] = string(c.ClientCA.CurrentCABundleContent())
	}
	if c.RequestHeaderCA == nil {
		return t, nil
	}
	o := c.options.Authentication
	t["requestheader-client-ca-file"] = string(c.RequestHeaderCA.CurrentCABundleContent())
	for key, list := range map[string][]string{
		"requestheader-allowed-names":        o.RequestHeaderAllowedNames,
		"requestheader-username-headers":     o.RequestHeaderUsername,
		"requestheader-uid-headers":          o.RequestHeaderUID,
		"requestheader-group-headers":        o.RequestHeaderGroup,
		"requestheader-extra-headers-prefix": o.RequestHeaderExtraHeaderPrefix,
	} {
		if list == nil {
			list = []string{}
		}
		b, err := json.Marshal(list)
		if err != nil {
			return nil, fmt.Errorf("writing %s: %w", key, err)
		}
		t[key] = string(b)
	}
	return t, nil
}

// awaitStores waits until all watch caches are filled.
func awaitStores(ctx context.Context, stores []rest.StorageWithReadiness) error {
	return wait.PollUntilContextCancel(ctx, 2*time.Millisecond, true, func(context.Context) (bool, error) {
		for _, s := range stores {
			if s.ReadinessCheck() != nil {
				return false, nil
			}
		}
		return true, nil
	})
}

// componentChecks are the components that this server can ask, and those that others have named.
func (c *chain) componentChecks() map[string]componentstatus.Check {
	checks := map[string]componentstatus.Check{
		"etcd-0": func(ctx context.Context) (string, error) { return "ok", c.backend.Check(ctx) },
	}
	if c.ComponentChecks != nil {
		for name, check := range c.ComponentChecks() {
			checks[name] = check
		}
	}
	return checks
}
