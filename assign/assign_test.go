// SPDX-License-Identifier: Apache-2.0

package assign_test

import (
	"flag"
	"fmt"
	"maps"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/alloc"
	"github.com/heraldlb/herald/assign"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/cluster/clustertest"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/port"
	"github.com/heraldlb/herald/source"
)

var update = flag.Bool("update", false, "rewrite testdata/assign")

// TestAssign plays the scripts in testdata/assign. Lines that start with "> "
// change the world; a pass follows each group of them, and the lines below say
// what it planned. After every pass but a stale one a second pass, which sees
// what the first one wrote, must plan nothing.
func TestAssign(t *testing.T) {
	files, err := filepath.Glob("testdata/assign/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			script, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := newWorld(t).play(string(script))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(script), got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", file, diff)
			}
		})
	}
}

// A world is a cluster with a controller that writes what it plans.
type world struct {
	t          *testing.T
	loaded     source.Loaded
	services   map[cluster.Key]*cluster.Service
	namespaces map[string]map[string]string
	allocator  *alloc.Allocator
	memory     *assign.Memory // decides the same as allocator
	opts       assign.Options
	stale      bool // the next plan is not seen by the pass after it
	usage      bool // print it after the next pass

	before map[cluster.Key][]string // what statuses showed before the last pass that was seen
}

func newWorld(t *testing.T) *world {
	return &world{
		t:          t,
		services:   make(map[cluster.Key]*cluster.Service),
		namespaces: make(map[string]map[string]string),
		allocator:  alloc.New(nil),
		memory:     assign.NewMemory(),
		opts:       assign.Options{Now: time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)},
	}
}

func (w *world) duration(s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

// play returns the script with what really happened.
func (w *world) play(script string) string {
	var out strings.Builder
	pending := false
	pass := func() {
		if pending {
			out.WriteString(w.pass())
		}
		pending = false
	}
	for line := range strings.Lines(script) {
		command, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "> ")
		switch {
		case ok:
			w.command(command)
			pending = true
			out.WriteString(line)
		case strings.HasPrefix(line, "#"), line == "\n":
			pass()
			out.WriteString(line)
		}
	}
	pass()
	return out.String()
}

// command changes the world.
func (w *world) command(line string) {
	verb, rest, _ := strings.Cut(line, " ")
	args := strings.Fields(rest)
	switch verb {
	case "config": // config none
		w.loaded = source.Loaded{}
	case "pools":
		w.loaded = source.Loaded{Config: &config.Config{}}
		for _, arg := range args {
			w.loaded.Config.Pools = append(w.loaded.Config.Pools, w.pool(arg))
		}
	case "service":
		w.service(args)
	case "delete":
		delete(w.services, serviceKey(args[0]))
	case "namespace":
		w.namespaces[args[0]] = labelled(args[1])
	case "restart":
		w.allocator, w.memory = alloc.New(nil), assign.NewMemory()
	case "class":
		w.opts.Class = strings.TrimPrefix(args[0], "none")
	case "grace": // what becomes of deleted Services
		w.opts.Grace = w.duration(args[0])
	case "wait": // time passes
		w.opts.Now = w.opts.Now.Add(w.duration(args[0]))
	case "stale":
		w.stale = true
	case "usage":
		w.usage = true
	default:
		w.t.Fatalf("unknown command %q", line)
	}
}

// pool reads name=ranges;option;option.
func (w *world) pool(s string) config.Pool {
	name, rest, _ := strings.Cut(s, "=")
	ranges, rest, _ := strings.Cut(rest, ";")
	p := config.Pool{Name: name, AutoAssign: true}
	for text := range strings.SplitSeq(ranges, ",") {
		r, err := config.ParseRange(text)
		if err != nil {
			w.t.Fatal(err)
		}
		p.Addresses = append(p.Addresses, r)
	}
	pinned := func() *config.Allocation {
		if p.Allocation == nil {
			p.Allocation = &config.Allocation{}
		}
		return p.Allocation
	}
	for opt := range strings.SplitSeq(rest, ";") {
		key, value, _ := strings.Cut(opt, "=")
		var err error
		switch key {
		case "":
		case "manual":
			p.AutoAssign = false
		case "avoid-buggy":
			p.AvoidBuggyIPs = true
		case "priority":
			pinned().Priority, err = strconv.Atoi(value)
		case "namespace":
			pinned().Namespaces = append(pinned().Namespaces, value)
		case "namespaces-labelled":
			pinned().NamespaceSelectors = append(pinned().NamespaceSelectors, w.selector(value))
		case "services-labelled":
			pinned().ServiceSelectors = append(pinned().ServiceSelectors, w.selector(value))
		case "reserve":
			p.Reservations, err = config.ParseReservations(value, p)
		case "quota":
			p.Quota, err = config.ParseQuota(value)
			p.Separate = true
		case "sharing":
			p.Separate, err = config.ParsePoolSharing(value, p.Quota)
		default:
			w.t.Fatalf("unknown pool option %q", opt)
		}
		if err != nil {
			w.t.Fatal(err)
		}
	}
	return p
}

func (w *world) selector(s string) config.Selector {
	sel, err := config.NewSelector(metav1.LabelSelector{MatchLabels: labelled(s)})
	if err != nil {
		w.t.Fatal(err)
	}
	return sel
}

// labelled reads key:value.
func labelled(s string) map[string]string {
	k, v, _ := strings.Cut(s, ":")
	return map[string]string{k: v}
}

func serviceKey(s string) cluster.Key {
	namespace, name, _ := strings.Cut(s, "/")
	return cluster.Key{Namespace: namespace, Name: name}
}

// service creates a Service or changes it: key=value for its fields,
// key:=value for its annotations, key:- to remove one.
func (w *world) service(args []string) {
	key := serviceKey(args[0])
	svc := &cluster.Service{
		Key:          key,
		Created:      time.Unix(int64(len(w.services)), 0),
		LoadBalancer: true,
		ClusterIPs:   []netip.Addr{netip.MustParseAddr("10.96.0.1")},
		Ports:        port.NewSet(port.Port{Protocol: "TCP", Number: 80}),
	}
	if old, ok := w.services[key]; ok {
		*svc = *old
	}
	svc.Annotations = maps.Clone(svc.Annotations)
	if svc.Annotations == nil {
		svc.Annotations = make(map[string]string)
	}
	defer func() {
		svc.Unknown = config.UnknownAnnotations(config.KindService, svc.Annotations)
		svc.Wish = cluster.ReadWish(svc)
	}()
	for _, arg := range args[1:] {
		if name, ok := strings.CutSuffix(arg, ":-"); ok {
			delete(svc.Annotations, name)
			continue
		}
		if name, value, ok := strings.Cut(arg, ":="); ok {
			svc.Annotations[name] = value
			continue
		}
		field, value, _ := strings.Cut(arg, "=")
		switch field {
		case "type":
			svc.LoadBalancer = value == "LoadBalancer"
		case "class":
			svc.Class = value
		case "uid":
			svc.UID = value
		case "age":
			n, err := strconv.Atoi(value)
			if err != nil {
				w.t.Fatal(err)
			}
			svc.Created = time.Unix(int64(-n), 0)
		case "labels":
			svc.Labels = labelled(value)
		case "cluster":
			svc.ClusterIPs = map[string][]netip.Addr{
				"none": nil,
				"4":    {netip.MustParseAddr("10.96.0.1")},
				"6":    {netip.MustParseAddr("fd00:96::1")},
				"46":   {netip.MustParseAddr("10.96.0.1"), netip.MustParseAddr("fd00:96::1")},
			}[value]
		case "policy":
			svc.FamilyPolicy = cluster.FamilyPolicy(value)
		case "prefer-ipv6":
			svc.PreferIPv6 = true
		case "lbip":
			svc.LoadBalancerIP = value
		case "local":
			svc.Local, svc.Selector = true, value
		case "etp":
			svc.Local = value == "Local"
		case "selector":
			svc.Selector = value
		case "ports":
			var ports []port.Port
			for p := range strings.SplitSeq(value, ",") {
				protocol, number, _ := strings.Cut(p, "/")
				n, err := strconv.ParseUint(number, 10, 16)
				if err != nil {
					w.t.Fatal(err)
				}
				ports = append(ports, port.Port{Protocol: protocol, Number: uint16(n)})
			}
			svc.Ports = port.NewSet(ports...)
		case "ingress":
			svc.Ingress = nil
			if value != "" {
				svc.Ingress = strings.Split(value, ",")
			}
		case "condition":
			svc.Conditions = nil
		default:
			w.t.Fatalf("unknown field %q", arg)
		}
	}
	w.services[key] = svc
}

func (w *world) snapshot() cluster.Snapshot {
	s := cluster.Snapshot{Config: w.loaded.Config, Namespaces: maps.Clone(w.namespaces)}
	for _, key := range slices.SortedFunc(maps.Keys(w.services), cluster.Key.Compare) {
		s.Services = append(s.Services, w.services[key])
	}
	return s
}

// pass runs Assign, writes what it plans and returns it as text.
func (w *world) pass() string {
	var out strings.Builder
	w.before = make(map[cluster.Key][]string)
	for key, svc := range w.services {
		w.before[key] = svc.Ingress
	}
	plan := w.assign()
	for _, u := range plan.Updates {
		writeUpdate(&out, u)
		if !w.stale {
			w.services[u.Service.Key] = written(u)
		}
	}
	if w.usage {
		for _, p := range plan.Pools {
			fmt.Fprintf(&out, "pool %s: %d of %s IPv4, %d of %s IPv6, %d Services",
				p.Name, p.InUseV4, p.TotalV4, p.InUseV6, p.TotalV6, p.Services)
			if n := p.ReservedV4 + p.ReservedV6; n > 0 {
				fmt.Fprintf(&out, ", %d reserved", n)
			}
			if n := p.RetainedV4 + p.RetainedV6; n > 0 {
				fmt.Fprintf(&out, ", %d retained", n)
			}
			for _, s := range p.Quota {
				fmt.Fprintf(&out, ", %s %d and %d of %d", s.Namespace, s.InUseV4, s.InUseV6, s.Limit)
			}
			out.WriteString("\n")
		}
	}
	if !plan.Next.IsZero() {
		fmt.Fprintf(&out, "next in %s\n", plan.Next.Sub(w.opts.Now))
	}
	w.usage = false
	if w.stale {
		w.stale = false
		return out.String()
	}
	for _, u := range w.assign().Updates {
		out.WriteString("AGAIN ")
		writeUpdate(&out, u)
	}
	return out.String()
}

// assign runs Assign, and wants a Memory to decide the same.
func (w *world) assign() assign.Plan {
	w.t.Helper()
	s := w.snapshot()
	plan := assign.Assign(s, w.allocator, w.opts)
	got := w.memory.Next(cluster.TablesOf(s), w.opts).List()
	bigs := cmp.Comparer(func(a, b *big.Int) bool { return a.Cmp(b) == 0 })
	if diff := cmp.Diff(plan, got, clustertest.Values, cmpopts.EquateEmpty(), bigs); diff != "" {
		w.t.Fatalf("Memory (-Assign +Memory):\n%s", diff)
	}
	return plan
}

func writeUpdate(out *strings.Builder, u assign.Update) {
	fmt.Fprintf(out, "%s: %v", u.Service.Key, u.Ingress)
	if u.Foreign {
		out.WriteString(" (not written)")
	}
	if u.Pool != "" {
		fmt.Fprintf(out, " pool=%s", u.Pool)
	}
	if c := u.Condition; c != nil {
		fmt.Fprintf(out, " %t %s %q", c.True, c.Reason, c.Message)
	}
	out.WriteString("\n")
	for _, e := range u.Events {
		warning := ""
		if e.Warning {
			warning = "W "
		}
		fmt.Fprintf(out, "  %s%s: %s\n", warning, e.Reason, e.Message)
	}
}

// written returns the Service of u after u has been written.
func written(u assign.Update) *cluster.Service {
	svc := *u.Service
	if !u.Foreign {
		svc.Ingress = nil
		for _, addr := range u.Ingress {
			svc.Ingress = append(svc.Ingress, addr.String())
		}
		svc.Annotations = maps.Clone(svc.Annotations)
		delete(svc.Annotations, assign.AnnotationPool)
		if u.Pool != "" {
			svc.Annotations[assign.AnnotationPool] = u.Pool
		}
	}
	svc.Conditions = nil
	if u.Condition != nil {
		svc.Conditions = []cluster.Condition{*u.Condition}
	}
	return &svc
}
