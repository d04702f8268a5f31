package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"

	"coracle.dev/coracle/nodeagent"
)

// Down stops the cluster's process, its containers and its containerd. Data stays.
func Down(ctx context.Context, c *Config) error {
	if pid := Running(c); pid != 0 {
		if err := stopProcess(ctx, pid); err != nil {
			return err
		}
	}
	release, err := hold(c)
	if err != nil {
		return err
	}
	defer release()
	if err := nodeagent.Stop(ctx, agentPaths(c)); err != nil {
		return fmt.Errorf("stopping containers: %w", err)
	}
	return nil
}

// Reset stops the cluster and removes all that it made: containers, mounts, interfaces, packet
// rules, files, and its context in the kubeconfig given. It can be repeated after a failure.
func Reset(ctx context.Context, c *Config, kubeconfig string) error {
	if err := Down(ctx, c); err != nil {
		return err
	}
	err := errors.Join(
		nodeagent.Teardown(ctx, agentPaths(c)),
		unmergeKubeconfig(c, kubeconfig),
	)
	if err != nil {
		return err
	}
	// The configuration goes last: with it goes the cluster's name.
	return errors.Join(os.RemoveAll(c.RunDir), os.RemoveAll(c.DataDir), os.RemoveAll(configDir(c.Name)))
}
