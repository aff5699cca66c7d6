// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/heraldlb/herald/frr/frrtest"
	"github.com/heraldlb/herald/l2/members"
)

var (
	churnFor     = flag.Duration("churn", 10*time.Second, "how long BenchmarkChurn changes endpoints")
	churnRate    = flag.Int("rate", 50, "how many changes a second BenchmarkChurn makes")
	churnProfile = flag.String("profile", "", "`folder` for CPU and heap profiles of BenchmarkChurn's agents")
)

// agentVariable makes the test's program an agent, with its arguments.
const agentVariable = "HERALD_TEST_AGENT"

func TestMain(m *testing.M) {
	if _, is := os.LookupEnv(agentVariable); is {
		go profileOnSignal(os.Getenv(agentVariable))
		main()
	}
	os.Exit(m.Run())
}

// profileOnSignal starts and ends a CPU profile at SIGUSR1, and writes a heap profile when it
// ends.
func profileOnSignal(path string) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	var cpu *os.File
	for range signals {
		if path == "" {
			runtime.GC()
			continue
		}
		if cpu == nil {
			cpu, _ = os.Create(path + ".cpu")
			pprof.StartCPUProfile(cpu)
			continue
		}
		pprof.StopCPUProfile()
		cpu.Close()
		cpu = nil
		heap, _ := os.Create(path + ".heap")
		runtime.GC()
		pprof.Lookup("heap").WriteTo(heap, 0)
		heap.Close()
	}
}

const (
	benchNamespace = "metallb-system"
	benchPod       = "agent-n2"
)

// A churn is an agent, on node n2 of three, and all that it works with: an API server, FRR's
// daemons, a network, and the gossip of the other two nodes.
type churn struct {
	b        *testing.B
	services int
	api      *apiServer
	agent    *exec.Cmd
	port     int
	changed  int
}

// newChurn starts an agent of a cluster of that many Services.
func newChurn(b *testing.B, services int) *churn {
	c := &churn{b: b, services: services, api: newAPIServer()}
	c.network()
	c.objects()
	server := httptest.NewServer(c.api)
	b.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	dir := frrtest.Dir(b)
	c.frr(dir)
	c.gossip()
	c.dataPlane()
	kubeconfig := filepath.Join(dir, "kubeconfig")
	text := fmt.Sprintf("apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: %q}}]\ncontexts: [{name: c, context: {cluster: c}}]\ncurrent-context: c\n", server.URL)
	if err := os.WriteFile(kubeconfig, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	c.port = 17472
	c.agent = exec.Command(os.Args[0], "--node-name=n2", "--pod-name="+benchPod, "--namespace="+benchNamespace, "--kubeconfig="+kubeconfig,
		"--frr-dir="+dir, "--frr-conf="+filepath.Join(dir, "frr.conf"), "--bind-address=127.0.0.1", fmt.Sprintf("--port=%d", c.port),
		"--ml-bindaddr=10.10.0.2", "--excluded-interfaces-file=")
	path := ""
	if *churnProfile != "" {
		path = filepath.Join(*churnProfile, fmt.Sprintf("agent-%d", services))
	}
	c.agent.Env = append(os.Environ(), agentVariable+"="+path)
	log, err := os.Create(filepath.Join(os.TempDir(), "churn-agent.log"))
	if err != nil {
		b.Fatal(err)
	}
	c.agent.Stderr = log
	if err := c.agent.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		c.agent.Process.Kill()
		c.agent.Wait()
	})
	return c
}

// network makes an interface for layer 2.
func (c *churn) network() {
	links, err := net.Interfaces()
	if err != nil || len(links) > 1 {
		c.b.Skipf("%d interfaces: run it in a network namespace of its own, as by unshare --net", len(links))
	}
	lo, err := netlink.LinkByName("lo")
	must(c.b, err)
	must(c.b, netlink.LinkSetUp(lo))
	eth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "lan0"}
	must(c.b, netlink.LinkAdd(eth))
	for _, name := range []string{"eth0", "lan0"} {
		l, err := netlink.LinkByName(name)
		must(c.b, err)
		must(c.b, netlink.LinkSetUp(l))
	}
	for _, a := range []string{"10.10.0.1/24", "10.10.0.2/24", "10.10.0.3/24"} {
		addr, err := netlink.ParseAddr(a)
		must(c.b, err)
		must(c.b, netlink.AddrAdd(eth, addr))
	}
	c.b.Cleanup(func() { netlink.LinkDel(eth) })
}

func must(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// frr starts FRR's daemons. Routers are sent every route at once.
func (c *churn) frr(dir string) {
	for _, name := range []string{"zebra", "bgpd", "bfdd", "staticd"} {
		d := frrtest.New(name)
		d.Start(c.b, dir)
		if name != "bgpd" {
			continue
		}
		session := fmt.Sprintf(`{"bgpState":"Established","bgpTimerUpMsec":1000,"connectionsEstablished":1,"hostLocal":"10.10.0.2","addressFamilyInfo":{"ipv4Unicast":{"sentPrefixCounter":%d}}}`, c.services)
		d.Reply("show bgp vrf all neighbors json", fmt.Sprintf(`{"default":{"vrfId":0,"10.10.0.253":%s,"10.10.0.254":%s}}`, session, session), 0)
		routes := map[string]any{}
		for i := range c.services {
			routes[serviceAddr(i).String()+"/32"] = map[string]any{"addrPrefix": serviceAddr(i), "prefixLen": 32, "network": serviceAddr(i).String() + "/32", "nextHop": "0.0.0.0", "metric": 0, "weight": 32768, "path": "", "bgpOriginCode": "i", "appliedStatusSymbols": map[string]bool{"*": true, ">": true}}
			d.Reply("show bgp ipv4 unicast "+serviceAddr(i).String()+"/32 json", fmt.Sprintf(`{"prefix":"%s/32","advertisedTo":{"10.10.0.253":{},"10.10.0.254":{}}}`, serviceAddr(i)), 0)
		}
		all, _ := json.Marshal(map[string]any{"advertisedRoutes": routes})
		for _, peer := range []string{"10.10.0.253", "10.10.0.254"} {
			d.Reply("show bgp ipv4 unicast neighbors "+peer+" advertised-routes json", string(all), 0)
		}
		done := make(chan struct{})
		c.b.Cleanup(func() { close(done) })
		go func() {
			for {
				select {
				case <-done:
					return
				case <-time.After(time.Second):
					d.Sent() // what it remembers
				}
			}
		}()
	}
}

// gossip runs the gossip of the other nodes' agents.
func (c *churn) gossip() {
	ctx, stop := context.WithCancel(context.Background())
	c.b.Cleanup(stop)
	var nodes []members.Node
	for i := range 3 {
		nodes = append(nodes, members.Node{Name: fmt.Sprintf("n%d", i+1), Addrs: []netip.Addr{netip.AddrFrom4([4]byte{10, 10, 0, byte(i + 1)})}})
	}
	for i, n := range nodes {
		if n.Name == "n2" {
			continue
		}
		l := members.New(members.Options{Node: n.Name, Bind: netip.AddrPortFrom(n.Addrs[0], 7946), Logger: slog.New(slog.DiscardHandler)})
		l.SetNodes(nodes)
		l.Publish(members.State{Interfaces: []string{"eth0"}, MACs: []members.MAC{{2, 0, 0, 0, 0, byte(i)}}})
		go l.Run(ctx)
	}
}

// dataPlane answers as kube-proxy does.
func (c *churn) dataPlane() {
	ports := []string{"127.0.0.1:10256"}
	for i := 0; i < c.services; i += 100 {
		ports = append(ports, fmt.Sprintf("10.10.0.2:%d", 20000+i/100))
	}
	for _, addr := range ports {
		l, err := net.Listen("tcp", addr)
		must(c.b, err)
		s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"localEndpoints":1}`) })}
		go s.Serve(l)
		c.b.Cleanup(func() { s.Close() })
	}
}

// settle waits until the agent has nothing to do any more.
func (c *churn) settle() {
	c.b.Helper()
	quiet, last := 0, ""
	for deadline := time.Now().Add(3 * time.Minute); quiet < 2; time.Sleep(2 * time.Second) {
		now := fmt.Sprint(c.api.written(), c.metric("herald_frr_applied"), c.metric("herald_frr_saved"), c.metric("herald_frr_generation"))
		if quiet++; now != last || c.metric("herald_frr_applied") != 1 {
			quiet = 0
		}
		if last = now; time.Now().After(deadline) {
			c.b.Fatalf("the agent is not done: %s", now)
		}
	}
}

// metric returns the sum of a metric; -1 if there is none.
func (c *churn) metric(name string) float64 {
	resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", c.port))
	if err != nil {
		return -1
	}
	defer resp.Body.Close()
	var page bytes.Buffer
	page.ReadFrom(resp.Body)
	sum, found := 0.0, false
	for line := range strings.Lines(page.String()) {
		if rest, ok := strings.CutPrefix(line, name); ok && (rest[0] == ' ' || rest[0] == '{') {
			v, _ := strconv.ParseFloat(strings.TrimSpace(rest[strings.LastIndex(rest, " "):]), 64)
			sum, found = sum+v, true
		}
	}
	if !found {
		return -1
	}
	return sum
}

// cpu returns the time that the agent has run.
func (c *churn) cpu() time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.agent.Process.Pid))
	must(c.b, err)
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')'):]))
	var ticks int
	for _, s := range f[12:14] {
		n, _ := strconv.Atoi(s)
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// memory returns the memory that the agent takes, in MB.
func (c *churn) memory(name string) float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.agent.Process.Pid))
	must(c.b, err)
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); f[0] == name+":" {
			kb, _ := strconv.Atoi(f[1])
			return float64(kb) / 1024
		}
	}
	return 0
}

// share returns how much of a core the agent takes while f runs, in per cent.
func (c *churn) share(f func()) float64 {
	start, before := time.Now(), c.cpu()
	f()
	return 100 * float64(c.cpu()-before) / float64(time.Since(start))
}

// run changes endpoints.
func (c *churn) run() {
	start := time.Now()
	for c.changed = 0; c.changed < int(*churnFor*time.Duration(*churnRate)/time.Second); c.changed++ {
		time.Sleep(time.Until(start.Add(time.Duration(c.changed) * time.Second / time.Duration(*churnRate))))
		c.api.set("endpointslices", c.slice(c.changed*31%c.services, 2+c.changed/c.services%2))
	}
}

// BenchmarkChurn measures what an agent takes while endpoints change: the whole program, in
// a process of its own, with an API server in memory and fakes of FRR's daemons. It needs a
// network namespace of its own:
//
//	unshare --net go test ./cmd/herald-agent -run '^$' -bench Churn -benchtime 1x
func BenchmarkChurn(b *testing.B) {
	for _, services := range []int{1000, 10000} {
		b.Run(fmt.Sprint(services), func(b *testing.B) {
			c := newChurn(b, services)
			c.settle()
			peak := c.memory("VmHWM")
			idle := c.share(func() { time.Sleep(*churnFor) })
			before, started := c.memory("RssAnon"), c.metric("metallb_k8s_client_updates_total")
			writes := c.api.written()
			c.agent.Process.Signal(syscall.SIGUSR1)
			busy := c.share(c.run)
			c.agent.Process.Signal(syscall.SIGUSR1)
			passes := c.metric("metallb_k8s_client_updates_total") - started
			b.Logf("writes %v, then %v; %d changes, %.0f passes", writes, c.api.written(), c.changed, passes)
			time.Sleep(time.Second)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(idle, "idle-%")
			b.ReportMetric(busy, "cpu-%")
			b.ReportMetric(passes, "passes")
			b.ReportMetric(peak, "peak-MB")
			b.ReportMetric(before, "idle-anon-MB")
			b.ReportMetric(c.memory("RssAnon"), "churn-anon-MB")
			b.ReportMetric(c.memory("VmRSS"), "churn-rss-MB")
			b.ReportMetric(c.metric("go_memstats_heap_alloc_bytes")/1e6, "heap-MB")
			if b.N > 1 {
				b.Skip("run it with -benchtime 1x")
			}
		})
	}
}
