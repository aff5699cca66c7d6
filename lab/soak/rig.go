// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/process"
)

// patience bounds what the rig itself waits for.
const patience = time.Minute

// A rig is a lab on which steps are carried out: three nodes with the pods of agent and
// FRR, two controllers, a router, two clients and three GoBGPs.
type rig struct {
	*lab.Standard
	guarded  *lab.GoBGP // the peer with a password
	versions []lab.Version

	parts map[string]chan struct{} // what a step has to itself: a channel with one place each
}

// newRig starts a lab with the objects of a world.
func newRig(ctx context.Context, bin string, w World) (_ *rig, err error) {
	r := &rig{parts: map[string]chan struct{}{}}
	if r.versions, err = lab.FindVersions(); len(r.versions) == 0 {
		return nil, err
	}
	network := lab.Mixed(r.versions, r.versions[0])
	network.Sidecar, network.SmallConf = true, true
	r.Standard, err = lab.UpStandard(ctx, lab.StackOptions{
		Network: network, Controllers: len(controllers), Bin: bin, Gate: true, Verify: true,
	})
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Concat(controllers, []string{"api", "objects"}) {
		r.parts[name] = make(chan struct{}, 1)
	}
	for _, n := range r.Nodes {
		for _, part := range []string{"agent-", "frr-", "wire-", "object-", "disk-"} {
			r.parts[part+n.Name] = make(chan struct{}, 1)
		}
	}
	if err := r.furnish(ctx, w); err != nil {
		return nil, errors.Join(err, r.Down(ctx))
	}
	return r, nil
}

// furnish makes what there is before the first step.
func (r *rig) furnish(ctx context.Context, w World) (err error) {
	// GoBGP refuses a peer of its configuration for 5 s after a session, and takes others at
	// once.
	r.guarded, err = r.StartGoBGP(ctx, lab.GoBGPOptions{
		Name: "guarded", ASN: 64515, Listen: []netip.Addr{netip.MustParseAddr("10.10.0.202")}, Password: canary,
	})
	if err != nil {
		return err
	}
	if err := r.Cluster.CreateNamespace(ctx, namespace); err != nil {
		return err
	}
	if err := r.Cluster.Apply(ctx, w.objects()); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(w.Services)) {
		if err := r.expose(ctx, name, w.Services[name]); err != nil {
			return err
		}
	}
	return nil
}

// expose makes a Service be as it is wanted, with its endpoints.
func (r *rig) expose(ctx context.Context, name string, s Service) error {
	if err := r.endpoints(ctx, name, s.Nodes); err != nil {
		return err
	}
	return r.Cluster.Apply(ctx, s.manifest(name))
}

// endpoints makes a Service have endpoints on these nodes alone.
func (r *rig) endpoints(ctx context.Context, name string, nodes []string) error {
	var pods []controlplane.BackendPod
	for _, n := range nodes {
		node := r.Node(n)
		pods = append(pods, controlplane.BackendPod{Node: n, IPs: []netip.Addr{node.Pod4, node.Pod6}, Ready: true})
	}
	return r.Cluster.SetBackends(ctx, namespace, name, nil, pods)
}

// daemons are Herald's programs by the part that a step which ends them has.
func (r *rig) daemons() map[string]*lab.Daemon {
	all := map[string]*lab.Daemon{}
	for _, c := range r.Controllers {
		all[c.Name] = c
	}
	for _, n := range r.Nodes {
		all[r.Agent(n).Name] = r.Agent(n)
		all[n.Sidecar.Name] = &n.Sidecar.Daemon
	}
	return all
}

// logOf returns the path of a daemon's log.
func (r *rig) logOf(name string) string {
	if node, isFRR := strings.CutPrefix(name, "frr-"); isFRR {
		return r.Node(node).LogFile(name)
	}
	return r.LogFile(name)
}

// copyLogs copies the logs of Herald's daemons to a folder.
func (r *rig) copyLogs(dir string) error {
	errs := []error{os.MkdirAll(dir, 0o755)}
	for name := range r.daemons() {
		text, err := os.ReadFile(r.logOf(name))
		errs = append(errs, err, os.WriteFile(filepath.Join(dir, name+".log"), text, 0o644))
	}
	return errors.Join(errs...)
}

// take waits until nobody has any of the parts, in their order, and takes them.
func (r *rig) take(ctx context.Context, parts []string) (release func(), err error) {
	var have []string
	release = func() {
		for _, p := range have {
			<-r.parts[p]
		}
	}
	for _, p := range slices.Sorted(slices.Values(parts)) {
		select {
		case r.parts[p] <- struct{}{}:
			have = append(have, p)
		case <-ctx.Done():
			release()
			return nil, ctx.Err()
		}
	}
	return sync.OnceFunc(release), nil
}

// persist repeats something that needs the API server, which a step may have ended.
func persist(ctx context.Context, do func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return process.Poll(ctx, 100*time.Millisecond, func() error { return do(ctx) })
}

// url is where a Service is asked at an address.
func url(a netip.Addr) string { return fmt.Sprintf("http://%s/", netip.AddrPortFrom(a, 80)) }

// pause waits.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
