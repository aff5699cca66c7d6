// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// etcdData is the folder of etcd's data.
const etcdData = "etcd"

// Backup copies what etcd has now, for Restore.
func (c *Cluster) Backup() (err error) {
	// What a stopped etcd has written is what a crash would leave.
	if err := c.etcd.Kill(unix.SIGSTOP); err != nil {
		return fmt.Errorf("back up etcd: %w", err)
	}
	defer func() {
		if cont := c.etcd.Kill(unix.SIGCONT); err == nil && cont != nil {
			err = fmt.Errorf("back up etcd: %w", cont)
		}
	}()
	if err := replaceFolder(c.path("backup"), c.path(etcdData)); err != nil {
		return fmt.Errorf("back up etcd: %w", err)
	}
	return nil
}

// Restore puts etcd back to what it had at the last Backup. It returns when the API server
// serves. Kubernetes' own programs do not notice: see RestartPrograms.
func (c *Cluster) Restore(ctx context.Context) error {
	if err := c.restore(ctx); err != nil {
		return fmt.Errorf("restore etcd: %w", err)
	}
	return nil
}

func (c *Cluster) restore(ctx context.Context) (err error) {
	c.StopAPIServer()
	_ = c.etcd.Kill(unix.SIGKILL)
	c.etcd.Stop()
	if err := replaceFolder(c.path(etcdData), c.path("backup")); err != nil {
		return err
	}
	if err := os.Remove(c.path(etcdSocket)); err != nil { // its presence says that etcd listens
		return err
	}
	if c.etcd, err = c.startEtcd(ctx); err != nil {
		return err
	}
	return c.StartAPIServer(ctx)
}

// RestartPrograms restarts the controllers and every kube-proxy, as Kubernetes'
// documentation asks for after a restore.
func (c *Cluster) RestartPrograms(ctx context.Context) (err error) {
	_ = c.manager.Kill(unix.SIGKILL)
	c.manager.Stop()
	if c.manager, err = c.startManager(ctx); err != nil {
		return err
	}
	c.mu.Lock()
	proxies := c.proxies
	c.proxies = nil
	c.mu.Unlock()
	var g errgroup.Group
	for node, p := range proxies {
		g.Go(func() error {
			_ = p.Kill(unix.SIGKILL)
			p.Stop()
			_, err := c.StartKubeProxy(ctx, node, p.namespace)
			return err
		})
	}
	return g.Wait()
}

func (c *Cluster) path(name string) string { return filepath.Join(c.opts.Dir, name) }

// replaceFolder makes a folder a copy of another.
func replaceFolder(to, from string) error {
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	return os.CopyFS(to, os.DirFS(from))
}
