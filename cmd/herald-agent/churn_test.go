// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base32"
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
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

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

var customKinds = map[string]string{
	"ipaddresspools": "IPAddressPool", "bfdprofiles": "BFDProfile", "communities": "Community", "bgppeers": "BGPPeer",
	"bgpadvertisements": "BGPAdvertisement", "l2advertisements": "L2Advertisement", "configurationstates": "ConfigurationState",
	"servicel2statuses": "ServiceL2Status", "servicebgpstatuses": "ServiceBGPStatus",
}

func customVersion(resource string) string {
	if resource == "bgppeers" {
		return "metallb.io/v1beta2"
	}
	return "metallb.io/v1beta1"
}

func newObject(resource string) object {
	switch resource {
	case "services":
		return &corev1.Service{}
	case "nodes":
		return &corev1.Node{}
	case "endpointslices":
		return &discoveryv1.EndpointSlice{}
	case "configmaps":
		return &corev1.ConfigMap{}
	case "pods":
		return &corev1.Pod{}
	case "namespaces":
		return &corev1.Namespace{}
	}
	return &corev1.Secret{}
}

func listOf(resource string, objects []object, version int) k8sruntime.Object {
	meta := metav1.ListMeta{ResourceVersion: strconv.Itoa(version)}
	switch resource {
	case "services":
		l := &corev1.ServiceList{ListMeta: meta}
		for _, o := range objects {
			l.Items = append(l.Items, *o.(*corev1.Service))
		}
		return l
	case "nodes":
		l := &corev1.NodeList{ListMeta: meta}
		for _, o := range objects {
			l.Items = append(l.Items, *o.(*corev1.Node))
		}
		return l
	case "endpointslices":
		l := &discoveryv1.EndpointSliceList{ListMeta: meta}
		for _, o := range objects {
			l.Items = append(l.Items, *o.(*discoveryv1.EndpointSlice))
		}
		return l
	case "configmaps":
		return &corev1.ConfigMapList{ListMeta: meta}
	case "pods":
		return &corev1.PodList{ListMeta: meta}
	case "namespaces":
		return &corev1.NamespaceList{ListMeta: meta}
	}
	return &corev1.SecretList{ListMeta: meta}
}

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

// objects makes the cluster and its configuration.
func (c *churn) objects() {
	for i := range 3 {
		c.api.set("nodes", &corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("n%d", i+1), UID: types.UID(fmt.Sprintf("node-%d", i+1))},
			Status:     corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: fmt.Sprintf("10.10.0.%d", i+1)}}},
		})
	}
	c.api.set("pods", &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: benchNamespace, Name: benchPod, UID: "pod"}})
	for _, o := range []struct{ resource, name, spec string }{
		{"bgppeers", "r1", `{"myASN":64512,"peerASN":64513,"peerAddress":"10.10.0.253"}`},
		{"bgppeers", "r2", `{"myASN":64512,"peerASN":64513,"peerAddress":"10.10.0.254"}`},
		{"ipaddresspools", "pool", `{"addresses":["10.32.0.0/16"]}`},
		{"ipaddresspools", "lan", `{"addresses":["10.33.0.0/16"]}`},
		{"bgpadvertisements", "routes", `{}`},
		{"l2advertisements", "answers", `{"ipAddressPools":["lan"]}`},
	} {
		var spec map[string]any
		must(c.b, json.Unmarshal([]byte(o.spec), &spec))
		u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": customVersion(o.resource), "kind": customKinds[o.resource], "spec": spec}}
		u.SetNamespace(benchNamespace)
		u.SetName(o.name)
		u.SetGeneration(1)
		c.api.set(o.resource, u)
	}
	for i := range c.services {
		c.api.set("services", c.service(i))
		c.api.set("endpointslices", c.slice(i, 3))
		c.api.set("servicebgpstatuses", bgpStatus(i))
	}
}

// bgpStatus returns what an agent before this one has written about a Service.
func bgpStatus(i int) *unstructured.Unstructured {
	namespace := meta(i, "").Namespace
	sum := sha256.Sum256(fmt.Appendf(nil, "n2\n%s/%s", namespace, serviceName(i)))
	u := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "metallb.io/v1beta1", "kind": "ServiceBGPStatus",
		"status": map[string]any{"node": "n2", "serviceName": serviceName(i), "serviceNamespace": namespace, "peers": []any{"r1", "r2"}},
	}}
	u.SetNamespace(benchNamespace)
	u.SetName("bgp-" + strings.ToLower(base32.StdEncoding.EncodeToString(sum[:])[:20]))
	u.SetLabels(map[string]string{"metallb.io/node": "n2", "metallb.io/service-name": serviceName(i), "metallb.io/service-namespace": namespace})
	u.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: benchPod, UID: "pod"}})
	return u
}

func meta(i int, name string) metav1.ObjectMeta {
	fields := metav1.FieldsV1{Raw: bytes.Repeat([]byte(`{"f:metadata":{}}`), 50)}
	at := metav1.NewTime(time.Unix(1.7e9, 0))
	return metav1.ObjectMeta{
		Namespace: fmt.Sprintf("team-%02d", i/200), Name: name, UID: types.UID(fmt.Sprintf("0ba9c7bd-0000-4000-8000-%012x", i)), CreationTimestamp: at,
		Labels:        map[string]string{"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": fmt.Sprintf("shop-%d", i%7)},
		ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kube-controller-manager", Operation: "Update", APIVersion: "v1", Time: &at, FieldsV1: &fields}},
	}
}

func serviceName(i int) string { return fmt.Sprintf("service-%05d", i) }

func (c *churn) service(i int) *corev1.Service {
	svc := &corev1.Service{
		ObjectMeta: meta(i, serviceName(i)),
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, ClusterIP: clusterIP(i), ClusterIPs: []string{clusterIP(i)}, IPFamilies: []corev1.IPFamily{"IPv4"},
			Ports:    []corev1.ServicePort{{Name: "http", Protocol: "TCP", Port: 80, NodePort: int32(20000 + i)}, {Name: "https", Protocol: "TCP", Port: 443, NodePort: int32(30000 + i)}},
			Selector: map[string]string{"app": serviceName(i)}, ExternalTrafficPolicy: corev1.ServiceExternalTrafficPolicyCluster,
		},
	}
	if i%100 == 0 {
		svc.Spec.ExternalTrafficPolicy, svc.Spec.HealthCheckNodePort = corev1.ServiceExternalTrafficPolicyLocal, int32(20000+i/100)
	}
	svc.Annotations = map[string]string{"metallb.io/ip-allocated-from-pool": "pool"}
	svc.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: serviceAddr(i).String()}}
	return svc
}

func clusterIP(i int) string { return netip.AddrFrom4([4]byte{10, 96, byte(i >> 8), byte(i)}).String() }

// serviceAddr returns the address of a Service. Each fifth is announced on layer 2, too.
func serviceAddr(i int) netip.Addr {
	block := byte(32)
	if i%5 == 0 {
		block = 33
	}
	return netip.AddrFrom4([4]byte{10, block, byte(i >> 8), byte(i)})
}

// slice returns the EndpointSlice of a Service with that many endpoints.
func (c *churn) slice(i, endpoints int) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{ObjectMeta: meta(i, serviceName(i)+"-abcde"), AddressType: discoveryv1.AddressTypeIPv4}
	s.Labels[discoveryv1.LabelServiceName] = serviceName(i)
	yes := true
	for j := range endpoints {
		node := fmt.Sprintf("n%d", j+1)
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{fmt.Sprintf("10.24%d.%d.%d", j, i>>8, i&255)}, NodeName: &node,
			Conditions: discoveryv1.EndpointConditions{Ready: &yes, Serving: &yes},
			TargetRef:  &corev1.ObjectReference{Kind: "Pod", Namespace: s.Namespace, Name: fmt.Sprintf("%s-%d", s.Name, j), UID: types.UID(fmt.Sprintf("pod-%d-%d", i, j))},
		})
	}
	return s
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
