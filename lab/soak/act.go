// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
)

// partsOf returns what a step has to itself until it is undone, so that two steps do not
// undo each other.
func partsOf(s Step) []string {
	switch s.Kind {
	case AgentKill, AgentStop, AgentFreeze:
		return []string{"agent-" + s.Node}
	case ControlKill, ControlStop, ControlFreeze:
		return []string{s.Target}
	case DaemonKill, DaemonFreeze, FRRKill, FRRStop:
		return []string{"frr-" + s.Node}
	case VersionChange:
		return []string{"agent-" + s.Node, "frr-" + s.Node, "disk-" + s.Node}
	case DiskFull:
		return []string{"disk-" + s.Node}
	case CableCut, GossipCut:
		return []string{"wire-" + s.Node}
	case NodeDelete, NodeCutOff, Drain:
		return []string{"object-" + s.Node}
	case APISlow, APIStall, APIGone, APIRestart:
		return []string{"api"}
	case PeerCut, BadResource, HugeService:
		return []string{"objects"}
	default:
		return nil
	}
}

// An undo ends what a step did. It is called with a context that does not end with the
// run's.
type undo func(ctx context.Context) error

// do carries out a step, w being the world after it. It returns what undoes it; nil if
// there is nothing to undo.
func (r *rig) do(ctx context.Context, s Step, w World) (undo, error) {
	switch s.Kind {
	case AgentKill, AgentStop, AgentFreeze:
		return disturb(s.Kind == AgentFreeze, s.Kind == AgentKill, r.Agent(r.Node(s.Node)))
	case ControlKill, ControlStop, ControlFreeze:
		return disturb(s.Kind == ControlFreeze, s.Kind == ControlKill, r.daemons()[s.Target])
	case FRRKill, FRRStop:
		return disturb(false, s.Kind == FRRKill, &r.Node(s.Node).Sidecar.Daemon)
	case DaemonKill, DaemonFreeze:
		return r.daemon(s)
	case VersionChange:
		return nil, r.changeVersion(ctx, r.Node(s.Node))
	case DiskFull:
		return fill(r.Node(s.Node).FRR.EtcDir + "/junk")
	case CableCut, GossipCut:
		return r.cut(ctx, s.Kind == CableCut, r.Node(s.Node).Machine)
	case APISlow, APIStall, APIGone, APIRestart:
		return r.hinder(ctx, s)
	case ConflictFlood, GossipFlood, ReaderFlood:
		return r.flood(s)
	case NodeDelete, NodeCutOff, Drain:
		return r.node(ctx, s)
	default:
		return r.object(ctx, s, w)
	}
}

// disturb freezes, kills or stops a daemon.
func disturb(freeze, kill bool, d *lab.Daemon) (undo, error) {
	if d.Process().Ended() {
		return nil, nil // the checker has seen it, or will
	}
	if freeze {
		return func(context.Context) error { return d.Process().Kill(unix.SIGCONT) }, d.Process().Kill(unix.SIGSTOP)
	}
	restart := func(context.Context) error { return d.Start() }
	if kill {
		return restart, d.Kill()
	}
	d.Stop()
	return restart, nil
}

// daemon kills or freezes one of FRR's daemons, which may not be among those that run.
func (r *rig) daemon(s Step) (undo, error) {
	sidecar := r.Node(s.Node).Sidecar
	pid := sidecar.PID(s.Target)
	if pid == 0 {
		return nil, nil
	}
	if s.Kind == DaemonKill {
		return nil, signal(pid, unix.SIGKILL)
	}
	return func(context.Context) error { return signal(pid, unix.SIGCONT) }, signal(pid, unix.SIGSTOP)
}

// signal sends a signal to a process that may have ended.
func signal(pid int, sig unix.Signal) error {
	if err := unix.Kill(pid, sig); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("signal process %d: %w", pid, err)
	}
	return nil
}

// changeVersion has another pod take the place of the node's, with the other version of
// FRR.
func (r *rig) changeVersion(ctx context.Context, n *lab.Node) error {
	i := slices.IndexFunc(r.versions, func(v lab.Version) bool { return !n.FRR.Runs(v) })
	if i < 0 {
		return nil
	}
	r.Agent(n).Stop()
	n.Sidecar.Stop()
	if err := n.Sidecar.ChangeVersion(ctx, r.versions[i]); err != nil {
		return err
	}
	if err := n.Sidecar.Start(); err != nil {
		return err
	}
	return r.Agent(n).Start()
}

// fill leaves no room in the file system of a file.
func fill(path string) (undo, error) {
	return func(context.Context) error { return os.Remove(path) }, lab.Fill(path)
}

// cut cuts a node off, or its gossip alone.
func (r *rig) cut(ctx context.Context, cable bool, m *lab.Machine) (undo, error) {
	if cable {
		return func(ctx context.Context) error { return r.SetCable(ctx, m, true) }, r.SetCable(ctx, m, false)
	}
	const rules = "table netdev cut { chain in { type filter hook ingress device eth0 priority 0; udp dport 7946 drop; tcp dport 7946 drop; tcp sport 7946 drop; }; }"
	_, err := m.Run(ctx, "nft", rules)
	return func(ctx context.Context) error {
		_, err := m.Run(ctx, "nft", "delete table netdev cut")
		return err
	}, err
}

// hinder makes the API server slow, silent or unreachable.
func (r *rig) hinder(ctx context.Context, s Step) (undo, error) {
	switch s.Kind {
	case APISlow:
		stop := r.Cluster.SlowAPIServer(time.Duration(s.Number) * 500 * time.Millisecond)
		return func(context.Context) error { return stop() }, nil
	case APIStall:
		resume := r.Cluster.StallAPIServer()
		return func(context.Context) error { return resume() }, nil
	case APIGone:
		r.Cluster.Gate().Shut()
		return func(context.Context) error { return r.Cluster.Gate().Open() }, nil
	default:
		return nil, r.Cluster.RestartAPIServer(ctx)
	}
}

// node changes a Node object.
func (r *rig) node(ctx context.Context, s Step) (undo, error) {
	patch := func(ctx context.Context, drain any) error {
		body, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]any{cluster.AnnotationDrain: drain}}})
		if err != nil {
			return err
		}
		_, err = r.Cluster.Client().CoreV1().Nodes().Patch(ctx, s.Node, types.MergePatchType, body, metav1.PatchOptions{})
		return err
	}
	switch s.Kind {
	case Drain:
		drain := cluster.Drain{Since: time.Now(), Hold: time.Second}
		return func(ctx context.Context) error { return patch(ctx, nil) }, persist(ctx, func(ctx context.Context) error { return patch(ctx, drain.String()) })
	case NodeCutOff:
		set := func(ctx context.Context, down bool) error {
			return r.Cluster.SetNodeCondition(ctx, s.Node, corev1.NodeNetworkUnavailable, down)
		}
		return func(ctx context.Context) error { return set(ctx, false) }, persist(ctx, func(ctx context.Context) error { return set(ctx, true) })
	default:
		all := r.Cluster.Options().Nodes
		was := all[slices.IndexFunc(all, func(n controlplane.Node) bool { return n.Name == s.Node })]
		return func(ctx context.Context) error { return r.Cluster.CreateNode(ctx, was) }, persist(ctx, func(ctx context.Context) error {
			return r.Cluster.Client().CoreV1().Nodes().Delete(ctx, s.Node, metav1.DeleteOptions{})
		})
	}
}

// object changes Services, endpoints and resources.
func (r *rig) object(ctx context.Context, s Step, w World) (undo, error) {
	apply := func(manifests string) func(context.Context) error {
		return func(ctx context.Context) error { return r.Cluster.Apply(ctx, manifests) }
	}
	remove := func(manifests string) func(context.Context) error {
		return func(ctx context.Context) error { return r.Cluster.Delete(ctx, manifests) }
	}
	switch s.Kind {
	case ServiceCreate:
		return nil, persist(ctx, func(ctx context.Context) error { return r.expose(ctx, s.Target, w.Services[s.Target]) })
	case ServiceDelete:
		return nil, persist(ctx, func(ctx context.Context) error { return r.Cluster.DeleteService(ctx, namespace, s.Target) })
	case Endpoints:
		if _, there := w.Services[s.Target]; !there {
			return nil, nil
		}
		return nil, persist(ctx, func(ctx context.Context) error { return r.endpoints(ctx, s.Target, s.Nodes) })
	case PoolEdit:
		return nil, persist(ctx, apply(pool(poolSpare, w.spareRange())))
	case PoolDelete:
		return nil, persist(ctx, remove(pool(poolSpare, w.spareRange())))
	case AdvertEdit:
		return nil, persist(ctx, apply(advertisement(bgpKind, poolRouted, w.communities())))
	case PoolSwitch:
		before := w
		before.Switched = !w.Switched
		return nil, persist(ctx, func(ctx context.Context) error {
			if err := r.Cluster.Apply(ctx, w.switched()); err != nil {
				return err
			}
			return r.Cluster.Delete(ctx, before.switched())
		})
	case PeerCut:
		return apply(peers[s.Target]), persist(ctx, remove(peers[s.Target]))
	case BadResource:
		bad := badResources[s.Number%len(badResources)]
		return remove(bad), persist(ctx, apply(bad))
	case HugeService:
		return func(ctx context.Context) error { return r.Cluster.DeleteService(ctx, namespace, "huge") }, persist(ctx, apply(hugeService(200_000)))
	default:
		return nil, fmt.Errorf("no lab can carry out %s", s.Kind)
	}
}
