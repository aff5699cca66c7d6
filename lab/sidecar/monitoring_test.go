// SPDX-License-Identifier: Apache-2.0

package sidecar_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
	"sigs.k8s.io/yaml"

	"github.com/heraldlb/herald/frr/conf"
	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/e2e"
)

// faulty is a configuration in which much is wrong. Nobody answers the peer dead, which alone
// gets the routes of the pool dark.
const faulty = e2e.PeerResources + `---
{apiVersion: metallb.io/v1beta1, kind: BFDProfile, metadata: {name: fast}, spec: {receiveInterval: 100, transmitInterval: 100}}
---
{apiVersion: metallb.io/v1beta2, kind: BGPPeer, metadata: {name: dead}, spec: {myASN: 64512, peerASN: 64999, peerAddress: 10.10.0.99, bfdProfile: fast}}
---
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: web, annotations: {heraldlb.io/quota: default=10, heraldlb.io/reservations: 192.0.2.9=shop/vip}}
spec: {addresses: [192.0.2.0/26]}
---
{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: one}, spec: {addresses: [192.0.2.64/32], autoAssign: false}}
---
{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: dark}, spec: {addresses: [192.0.2.128/28], autoAssign: false}}
---
{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: lan}, spec: {addresses: [10.10.0.150-10.10.0.155], autoAssign: false}}
---
{apiVersion: metallb.io/v1beta1, kind: BGPAdvertisement, metadata: {name: all}, spec: {ipAddressPools: [web, one], peers: [r1, r1-v6, ibgp, ibgp-v6, ebgp, ebgp-v6], probe: {}}}
---
{apiVersion: metallb.io/v1beta1, kind: BGPAdvertisement, metadata: {name: dark}, spec: {ipAddressPools: [dark], peers: [dead]}}
---
{apiVersion: metallb.io/v1beta1, kind: L2Advertisement, metadata: {name: lan}, spec: {ipAddressPools: [lan]}}
`

// quiet says why an alert has no data in the lab, whose faults last for seconds. The metrics
// of its expression must have.
var quiet = map[string]string{
	"HeraldBGPSessionFlapping": "a session that flaps takes minutes",
	"HeraldFRRWithdrawn":       "the agents are there",
	"HeraldQuotaNearlyFull":    "a quota of ten has one Service",
	"HeraldFRRNotApplied":      "FRR accepts what agents send",
	"HeraldAddressClash":       "there is no other load balancer",
	"HeraldStatusContested":    "there is no other writer",
	"HeraldAPIErrors":          "the API server answers",
	"HeraldNodeSilent":         "each node announces something",
	"HeraldProbesFailing":      "each probe is answered",
	"HeraldSeveralLeaders":     "there is one controller",
	"HeraldAgentAbsent":        "some agents are there",
	"MetalLBConfigNotLoaded":   "each process has a configuration from its first report on",
}

// quietPanels says why an expression of a panel has no data.
var quietPanels = map[string]string{
	"Herald / Overview, Addresses set aside, and quotas, B": "no address is kept: the controller has no --address-grace",
}

// absent says which metrics have no series in the lab.
var absent = map[string]string{
	"herald_status_contests":  "there is no other writer",
	"herald_layer2_contender": "gossip reaches all nodes",
}

// Every expression of every alert and of every panel has data in a lab with faults, and an
// alert names node and peer. Prometheus reads OpenMetrics, in which names must be the same.
func TestMonitoring(t *testing.T) {
	lab.Need(t, "prometheus")
	e := newSidecarE2E(t)
	r := e.Resources()
	root, err := lab.Root()
	if err != nil {
		t.Fatal(err)
	}
	rules := filepath.Join(root, "deploy/monitoring/alerts.yaml")
	began := time.Now()
	p, err := e.StartPrometheus(t.Context(), rules, filepath.Join(root, "deploy/monitoring/frrk8s.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	makeFaults(e, r, p)
	t.Logf("faults after %v", time.Since(began).Round(time.Second))

	alerts := alertsOf(t, rules)
	for _, name := range slices.Sorted(maps.Keys(quiet)) {
		if alerts[name] == "" {
			t.Errorf("there is no alert %s", name)
		}
	}
	// What is about to have data has it soon; all are asked again until then.
	e.Eventually("data of every alert", func(ctx context.Context) error {
		var errs []error
		for name, expr := range alerts {
			if quiet[name] == "" {
				errs = append(errs, hasData(ctx, p, name, expr, began))
			}
		}
		return errors.Join(errs...)
	})
	exprs := slices.Collect(maps.Values(alerts))
	panels := panelsOf(t, filepath.Join(root, "deploy/monitoring/dashboards"))
	for name := range quietPanels {
		if panels[name] == "" {
			t.Errorf("there is no %s", name)
		}
	}
	empty := maps.Clone(panels) // those that have had no data yet
	maps.DeleteFunc(empty, func(name, expr string) bool { return quietPanels[name] != "" || namesAbsent(expr) })
	e.Eventually("data of every panel", func(ctx context.Context) error {
		var errs []error
		for name, expr := range empty {
			if err := hasData(ctx, p, name, expr, began); err != nil {
				errs = append(errs, err)
				continue
			}
			delete(empty, name)
		}
		return errors.Join(errs...)
	})
	exprs = slices.AppendSeq(exprs, maps.Values(panels))
	e.Eventually("every metric", func(ctx context.Context) error {
		var errs []error
		for _, name := range metricsIn(exprs) {
			if absent[name] == "" {
				errs = append(errs, hasData(ctx, p, "metric", name, began))
			}
		}
		return errors.Join(errs...)
	})
	e.Eventually("names of frr-k8s", func(ctx context.Context) error {
		var errs []error
		for _, expr := range []string{
			`frrk8s_bgp_session_up{node="n1", peer="10.10.0.254"} == 1`, `frrk8s_bgp_session_up{node="n1", peer="fd00:10:10::254"} == 1`,
			`frrk8s_bfd_session_up{node="n1", peer="10.10.0.99"} == 0`, `frrk8s_k8s_client_config_loaded_bool{node="n1"} == 1`,
		} {
			errs = append(errs, hasData(ctx, p, "recorded", expr, began))
		}
		return errors.Join(errs...)
	})
	// What has happened was measured.
	e.Eventually("measures", func(ctx context.Context) error {
		var errs []error
		for _, count := range []string{
			"service_assign_duration_seconds_count", "service_announce_duration_seconds_count", `announcement_confirm_duration_seconds_count{protocol="bgp"}`,
			`announcement_confirm_duration_seconds_count{protocol="layer2"}`, "bgp_session_recovery_duration_seconds_count", "failover_duration_seconds_count",
		} {
			errs = append(errs, hasData(ctx, p, "measured", "sum(herald_"+count+") > 0", began))
		}
		return errors.Join(errs...)
	})
	var all []lab.Alert
	const want = "n2: the BGP session with dead (10.10.0.99:179) is down."
	e.Eventually("an alert with node and peer", func(ctx context.Context) (err error) {
		all, err = p.Alerts(ctx)
		if err == nil && !slices.ContainsFunc(all, func(a lab.Alert) bool { return a.Annotations["summary"] == want }) {
			err = fmt.Errorf("none says %q among %v", want, all)
		}
		return err
	})
	for _, a := range all {
		for name, text := range a.Annotations {
			if text == "" || strings.Contains(text, "<error") || strings.Contains(text, "<no value>") {
				t.Errorf("%s of %s is %q", name, a.Labels["alertname"], text)
			}
		}
	}
	t.Logf("%d expressions after %v", len(exprs), time.Since(began).Round(time.Second))
}

// makeFaults brings about what alerts are about.
func makeFaults(e *e2e.Test, r *e2e.Resources, p *lab.Prometheus) {
	t := e.T
	t.Helper()
	r.Apply(faulty)
	pool := func(name string) map[string]string { return map[string]string{"metallb.io/address-pool": name} }
	w := e.Neighbors()
	// A stranger has an address of the LAN.
	const stolen = "10.10.0.155"
	if _, err := e.Collector.Run(t.Context(), "ip", "addr", "add", stolen+"/24", "dev", "eth0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := e.Collector.Run(context.Background(), "ip", "addr", "del", stolen+"/24", "dev", "eth0"); err != nil {
			t.Error(err)
		}
	})
	web := e.Expose(controlplane.ServiceOptions{Name: "web"})[0]
	lan := e.Expose(controlplane.ServiceOptions{Name: "lan", Annotations: pool("lan")})[0]
	e.Expose(controlplane.ServiceOptions{Name: "stolen", Address: stolen, Annotations: pool("lan")})
	e.Expose(controlplane.ServiceOptions{Name: "one", Annotations: pool("one")})
	e.Expose(controlplane.ServiceOptions{Name: "dark", Annotations: pool("dark")})
	if _, err := e.Stack.Expose(t.Context(), controlplane.ServiceOptions{Namespace: e.Namespace, Name: "none", Annotations: pool("one")}); err != nil {
		t.Fatal(err)
	}
	e.Announced(e2e.Route(web))
	if r := extras(e, e.Nodes[0], "nonsense\n"); r.Applied {
		t.Fatalf("raw configuration is accepted: %+v", r)
	}
	// The owner of an address dies, bgpd on another node, and bfdd there again and again.
	owner := e.Owner(w, lan)
	other := e.Nodes[owner.Number%len(e.Nodes)]
	if err := e.Agent(owner).Kill(); err != nil {
		t.Fatal(err)
	}
	if err := other.Sidecar.Signal(conf.BGPD, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	e.Eventually("bfdd is down for long", func(ctx context.Context) error {
		if other.Sidecar.PID(conf.BFDD) != 0 {
			_ = other.Sidecar.Signal(conf.BFDD, unix.SIGKILL) // an error is that it has ended
		}
		return hasData(ctx, p, "metric", `herald_frr_process_up{daemon="bfdd"} == 0 and on (instance, daemon) herald_frr_process_restarts_total > 3`, began)
	})
	e.Eventually("another owner", func(ctx context.Context) error {
		if now := e.Owner(w, lan); now == owner {
			return fmt.Errorf("%s still answers", owner.Name)
		}
		return nil
	})
	// No controller leads for a while, and then one does again.
	if err := e.Controllers[0].Kill(); err != nil {
		t.Fatal(err)
	}
	e.Eventually("what is gone is missed", func(ctx context.Context) error {
		return errors.Join(hasData(ctx, p, "metric", "absent(herald_leading)", began), hasData(ctx, p, "metric", `up{container="agent"} == 0`, began))
	})
	// The agent starts, and hears no other for a while.
	const cut = "table netdev cut { chain in { type filter hook ingress device eth0 priority 0; udp dport 7946 drop; tcp dport 7946 drop; tcp sport 7946 drop; }; }"
	if _, err := owner.Run(t.Context(), "nft", cut); err != nil {
		t.Fatal(err)
	}
	mend := sync.OnceFunc(func() {
		if _, err := owner.Run(context.Background(), "nft", "delete table netdev cut"); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(mend)
	var g errgroup.Group
	g.Go(e.Controllers[0].Start)
	g.Go(e.Agent(owner).Start)
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	e.Eventually("an agent that is cut off", func(ctx context.Context) error {
		return errors.Join(hasData(ctx, p, "metric", "herald_members_stale == 1", began), hasData(ctx, p, "metric", "herald_members == 1", began))
	})
	mend()
	// The newest configuration is refused.
	r.Apply(`{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: wrong}, spec: {addresses: [192.0.2.0/27]}}`)
}

// hasData returns an error if an expression has no value since a time.
func hasData(ctx context.Context, p *lab.Prometheus, name, expr string, since time.Time) error {
	all, err := p.Query(ctx, expr, since)
	if err == nil && len(all) == 0 {
		err = errors.New("no data")
	}
	if err != nil {
		return fmt.Errorf("%s: %s: %w", name, expr, err)
	}
	return nil
}

// alertsOf returns the expressions of a file's alerts by their names.
func alertsOf(t *testing.T, file string) map[string]string {
	t.Helper()
	var f struct {
		Groups []struct {
			Rules []struct{ Alert, Expr string }
		}
	}
	b, err := os.ReadFile(file)
	if err == nil {
		err = yaml.Unmarshal(b, &f)
	}
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, g := range f.Groups {
		for _, r := range g.Rules {
			out[r.Alert] = r.Expr
		}
	}
	if len(out) < 25 {
		t.Fatalf("%s has %d alerts", file, len(out))
	}
	return out
}

// panelsOf returns the expressions of a folder's dashboards, with a value for each variable, by
// where they are.
func panelsOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(files) != 3 {
		t.Fatalf("dashboards: %v, %v", files, err)
	}
	variables := strings.NewReplacer("$__rate_interval", "5s", "$__range", "1m", "$namespace", ".*", "$node", ".*", "$pool", ".*", "[6h]", "[1m]")
	out := map[string]string{}
	for _, file := range files {
		var d struct {
			Title  string
			Panels []struct {
				Title   string
				Targets []struct{ Expr, RefID string }
			}
		}
		b, err := os.ReadFile(file)
		if err == nil {
			err = json.Unmarshal(b, &d)
		}
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				expr := variables.Replace(q.Expr)
				if strings.Contains(expr, "$") {
					t.Errorf("%s: %s: %s has a variable without a value", d.Title, p.Title, q.Expr)
				}
				out[d.Title+", "+p.Title+", "+q.RefID] = expr
			}
		}
	}
	if len(out) < 80 {
		t.Fatalf("the dashboards have %d expressions", len(out))
	}
	return out
}

var metric = regexp.MustCompile(`\b(herald|metallb)_[a-z0-9_]+\b`)

// metricsIn returns the metrics that expressions are about.
func metricsIn(exprs []string) []string {
	var all []string
	for _, expr := range exprs {
		all = append(all, metric.FindAllString(expr, -1)...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// namesAbsent reports whether an expression is about a metric without series.
func namesAbsent(expr string) bool {
	return slices.ContainsFunc(metric.FindAllString(expr, -1), func(name string) bool { return absent[name] != "" })
}
