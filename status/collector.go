// SPDX-License-Identifier: Apache-2.0

package status

import (
	"cmp"
	"maps"
	"math/big"
	"net"
	"slices"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics that MetalLB has too keep MetalLB's names, so that its dashboards and alerts
// work. The names of other metrics start with herald_.
var (
	descConfigLoaded = prometheus.NewDesc("metallb_k8s_client_config_loaded_bool",
		"1 if a configuration has been accepted.", nil, nil)
	descConfigStale = prometheus.NewDesc("metallb_k8s_client_config_stale_bool",
		"1 if the newest configuration was refused, so that an older one is in force.", nil, nil)

	descTotal = prometheus.NewDesc("metallb_allocator_addresses_total",
		"Number of usable addresses, by pool.", []string{"pool"}, nil)
	descTotalV4 = prometheus.NewDesc("metallb_allocator_ipv4_addresses_total",
		"Number of usable IPv4 addresses, by pool.", []string{"pool"}, nil)
	descTotalV6 = prometheus.NewDesc("metallb_allocator_ipv6_addresses_total",
		"Number of usable IPv6 addresses, by pool.", []string{"pool"}, nil)
	descInUse = prometheus.NewDesc("metallb_allocator_addresses_in_use_total",
		"Number of addresses in use, by pool.", []string{"pool"}, nil)
	descInUseV4 = prometheus.NewDesc("metallb_allocator_ipv4_addresses_in_use_total",
		"Number of IPv4 addresses in use, by pool.", []string{"pool"}, nil)
	descInUseV6 = prometheus.NewDesc("metallb_allocator_ipv6_addresses_in_use_total",
		"Number of IPv6 addresses in use, by pool.", []string{"pool"}, nil)
	descServices = prometheus.NewDesc("metallb_allocator_services_allocated_total",
		"Number of Services that hold an address, by pool.", []string{"pool"}, nil)
	descReserved = prometheus.NewDesc("herald_pool_addresses_reserved",
		"Number of addresses that nobody uses and that are reserved for a Service, by pool.", []string{"pool"}, nil)
	descRetained = prometheus.NewDesc("herald_pool_addresses_retained",
		"Number of addresses that nobody uses and that are kept for Services that are gone, by pool.", []string{"pool"}, nil)
	descShare = prometheus.NewDesc("herald_pool_quota_in_use",
		"Number of addresses that the Services of a namespace with a quota have, by pool, namespace and family.",
		[]string{"pool", "namespace", "family"}, nil)
	descLimit = prometheus.NewDesc("herald_pool_quota_limit",
		"Number of addresses of each family that the Services of a namespace may have, by pool and namespace.",
		[]string{"pool", "namespace"}, nil)
	descUnassigned = prometheus.NewDesc("herald_services_unassigned",
		"Number of Services without the addresses they ask for, by reason.", []string{"reason"}, nil)
	descUnannounced = prometheus.NewDesc("herald_services_unannounced",
		"Number of Services with addresses that no node announces, by reason.", []string{"reason"}, nil)
	descClashes = prometheus.NewDesc("herald_address_clashes",
		"Number of addresses of Services that another load balancer gave to Services of its own.", nil, nil)
	descContests = prometheus.NewDesc("herald_status_contests",
		"Number of objects whose status another writer keeps changing, by kind.", []string{"kind"}, nil)
	descLeading = prometheus.NewDesc("herald_leading",
		"1 if this controller is the one that assigns addresses.", nil, nil)

	descAnnounced = prometheus.NewDesc("metallb_speaker_announced",
		"1 for each address of a Service that this node announces.", []string{"service", "protocol", "node", "ip"}, nil)
	descDecisions = prometheus.NewDesc("herald_decisions",
		"Number of addresses of Services that this node announces or not, by protocol and reason.", []string{"protocol", "reason"}, nil)
	descSessionUp = prometheus.NewDesc("metallb_bgp_session_up",
		"1 if the BGP session is established.", []string{"peer", "vrf"}, nil)
	descPeerInfo = prometheus.NewDesc("herald_bgp_peer_info",
		"Always 1; the name of the BGPPeer that the session is configured by.", []string{"peer", "vrf", "name"}, nil)
	descPrefixes = prometheus.NewDesc("metallb_bgp_announced_prefixes_total",
		"Number of prefixes that the peer was sent.", []string{"peer", "vrf"}, nil)
	descBFDUp = prometheus.NewDesc("metallb_bfd_session_up",
		"1 if the BFD session is up.", []string{"peer", "vrf"}, nil)
	descApplied = prometheus.NewDesc("herald_frr_applied",
		"1 if FRR runs the configuration that it is to run.", nil, nil)
	descSaved = prometheus.NewDesc("herald_frr_saved",
		"1 if frr.conf, from which FRR starts, has the configuration that FRR is to run.", nil, nil)
	descGeneration = prometheus.NewDesc("herald_frr_generation",
		"Number of different configurations that FRR was to run since the start.", nil, nil)
	descExtras = prometheus.NewDesc("herald_frr_extras_applied",
		"1 if FRR runs the operator's raw configuration; absent if there is none.", nil, nil)
	descDaemonUp = prometheus.NewDesc("herald_frr_daemon_up",
		"1 if the FRR daemon answers.", []string{"daemon"}, nil)

	descRequests = prometheus.NewDesc("metallb_layer2_requests_received",
		"Number of ARP requests and neighbor solicitations for the address.", []string{"ip"}, nil)
	descReplies = prometheus.NewDesc("metallb_layer2_responses_sent",
		"Number of answers to ARP requests and neighbor solicitations for the address.", []string{"ip"}, nil)
	descGratuitous = prometheus.NewDesc("metallb_layer2_gratuitous_sent",
		"Number of packets about the address that nobody asked for.", []string{"ip"}, nil)
	descPackets = prometheus.NewDesc("herald_layer2_packets_total",
		"Number of ARP and neighbor discovery packets received, by what became of them.", []string{"verdict"}, nil)
	descConflict = prometheus.NewDesc("herald_layer2_conflict",
		"1 if a host that is no node of the cluster has the address.", []string{"ip"}, nil)
	descContender = prometheus.NewDesc("herald_layer2_contender",
		"1 if gossip has lost the agent of the node, but the node answers for the address when asked.", []string{"ip", "contender"}, nil)
	descClaims = prometheus.NewDesc("herald_layer2_claims_total",
		"Number of claims of addresses that were looked into, by result: confirmed, unanswered or forged.", []string{"result"}, nil)
	descMembers = prometheus.NewDesc("herald_members",
		"Number of agents that this one holds to be alive, itself included.", nil, nil)
	descDamped = prometheus.NewDesc("herald_members_damped",
		"Number of agents that came and went too often to own addresses for a while.", nil, nil)
	descMembersStale = prometheus.NewDesc("herald_members_stale",
		"1 if this agent does not know who is alive, and announces nothing on layer 2.", nil, nil)

	descGossipRefused = prometheus.NewDesc("herald_gossip_refused_total",
		"Number of packets and connections at the port for gossip that were refused unread: not from a Node's address, or too many.", []string{"kind"}, nil)
	descLost = prometheus.NewDesc("herald_members_lost_total",
		"Number of agents declared dead that had not said goodbye: because watchers got no heartbeats, or because probes had no answer.", []string{"by"}, nil)
	descReturned = prometheus.NewDesc("herald_members_returned_total",
		"Number of agents declared dead that were heard again without a restart: they were cut off, did not run, or were too slow.", nil, nil)
	descGossipKeys = prometheus.NewDesc("herald_gossip_keys",
		"Number of keys that gossip is accepted with: more than 1 while a key is replaced, 0 in clear text.", nil, nil)

	descDataPlane = prometheus.NewDesc("herald_dataplane_healthy",
		"1 if the data plane of this node, such as kube-proxy, says that it is healthy.", nil, nil)
	descDataPlaneWaiting = prometheus.NewDesc("herald_dataplane_waiting",
		"Number of addresses that this node does not announce before its data plane serves them.", nil, nil)
	descDataPlaneWaived = prometheus.NewDesc("herald_dataplane_waived_total",
		"Number of addresses that this node has announced though its data plane was not seen to serve them in time.", nil, nil)

	descProbes = prometheus.NewDesc("herald_probes",
		"Number of addresses that this node probes, by whether they answer.", []string{"state"}, nil)
	descProbeResults = prometheus.NewDesc("herald_probe_results_total",
		"Number of probes: answered, failed, or with connections that may all have been led to other nodes.", []string{"result"}, nil)

	descUntold = prometheus.NewDesc("herald_probes_untold",
		"Number of probes that are not answered on this node and that other agents are not told of, as there are too many.", nil, nil)

	descBuild = prometheus.NewDesc("herald_build_info",
		"Always 1; the version is in the label.", []string{"version"}, nil)
)

// A collector makes metrics of the Report at every scrape.
type collector struct{ board *Board }

// Describe sends nothing: which metrics exist depends on the Report.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect sends the metrics of the newest Report.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	s := sender{ch}
	r := c.board.Report()
	s.gauge(descBuild, 1, r.Version)
	s.gauge(descConfigLoaded, one(r.Config.Loaded))
	s.gauge(descConfigStale, one(r.Config.Loaded && r.Config.Error != ""))
	contests := map[string]int{}
	for _, c := range r.Contests {
		contests[c.Kind]++
	}
	for kind, n := range contests {
		s.gauge(descContests, float64(n), kind)
	}
	if r.Node == "" {
		s.controller(r)
		return
	}
	s.agent(r)
}

// A sender sends gauges.
type sender struct{ ch chan<- prometheus.Metric }

func (s sender) gauge(d *prometheus.Desc, v float64, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (s sender) controller(r Report) {
	s.gauge(descLeading, one(r.Leading))
	s.gauge(descClashes, float64(len(r.Clashes)))
	for _, p := range r.Pools {
		s.gauge(descTotal, float(p.TotalV4)+float(p.TotalV6), p.Name)
		s.gauge(descTotalV4, float(p.TotalV4), p.Name)
		s.gauge(descTotalV6, float(p.TotalV6), p.Name)
		s.gauge(descInUse, float64(p.InUseV4+p.InUseV6), p.Name)
		s.gauge(descInUseV4, float64(p.InUseV4), p.Name)
		s.gauge(descInUseV6, float64(p.InUseV6), p.Name)
		s.gauge(descServices, float64(p.Services), p.Name)
		s.gauge(descReserved, float64(p.ReservedV4+p.ReservedV6), p.Name)
		s.gauge(descRetained, float64(p.RetainedV4+p.RetainedV6), p.Name)
		for _, q := range p.Quota {
			s.gauge(descShare, float64(q.InUseV4), p.Name, q.Namespace, "IPv4")
			s.gauge(descShare, float64(q.InUseV6), p.Name, q.Namespace, "IPv6")
			s.gauge(descLimit, float64(q.Limit), p.Name, q.Namespace)
		}
	}
	for _, reason := range slices.Sorted(maps.Keys(r.Unassigned)) {
		s.gauge(descUnassigned, float64(r.Unassigned[reason]), string(reason))
	}
	for _, reason := range slices.Sorted(maps.Keys(r.Unannounced)) {
		s.gauge(descUnannounced, float64(r.Unannounced[reason]), string(reason))
	}
}

func (s sender) agent(r Report) {
	type kind struct {
		Protocol
		Reason
	}
	decisions := make(map[kind]int)
	for _, d := range r.Decisions {
		decisions[kind{d.Protocol, d.Reason}]++
		if d.Announce {
			s.gauge(descAnnounced, 1, d.Service, string(d.Protocol), r.Node, d.Addr.String())
		}
	}
	for k, n := range decisions {
		s.gauge(descDecisions, float64(n), string(k.Protocol), string(k.Reason))
	}
	s.names(r.Peers)
	if r.FRR == nil || !r.FRR.Metrics {
		s.sessions(r.Peers)
	}
	if r.DataPlane != nil {
		s.gauge(descDataPlane, one(r.DataPlane.Healthy))
		s.gauge(descDataPlaneWaiting, float64(r.DataPlane.Waiting))
		s.counter(descDataPlaneWaived, r.DataPlane.Waived)
	}
	if p := r.Probes; p != nil {
		s.gauge(descProbes, float64(p.Passing), "passing")
		s.gauge(descProbes, float64(p.Failing), "failing")
		s.gauge(descProbes, float64(p.Unknown), "unknown")
		s.counter(descProbeResults, p.Results.Answered, "answered")
		s.counter(descProbeResults, p.Results.Failed, "failed")
		s.counter(descProbeResults, p.Results.Elsewhere, "elsewhere")
	}
	if r.Layer2 != nil {
		s.network(*r.Layer2)
	}
	if r.FRR != nil {
		s.gauge(descApplied, one(r.FRR.Applied))
		s.gauge(descSaved, one(r.FRR.Unsaved == ""))
		s.gauge(descGeneration, float64(r.FRR.Generation))
		if r.FRR.Extras != nil {
			s.gauge(descExtras, one(r.FRR.Extras.Applied))
		}
		for daemon, up := range r.FRR.Daemons {
			s.gauge(descDaemonUp, one(up), daemon)
		}
	}
}

// names sends the names of the peers, which FRR does not know.
func (s sender) names(peers []Peer) {
	for _, p := range peers {
		if p.Wanted {
			s.gauge(descPeerInfo, 1, p.endpoint(), p.vrf(), p.Name)
		}
	}
}

// sessions sends the metrics of sessions with peers. herald-frr, if it runs, exports
// these and more under the same names and labels.
func (s sender) sessions(peers []Peer) {
	for _, p := range peers {
		if !p.Wanted {
			continue
		}
		s.gauge(descSessionUp, one(p.Session.Up()), p.endpoint(), p.vrf())
		s.gauge(descPrefixes, float64(p.Session.PrefixesSent), p.endpoint(), p.vrf())
		if guard := p.guard(); p.BFDProfile != "" && guard != "" {
			s.gauge(descBFDUp, one(p.Session.BFD == "up"), guard, p.vrf())
		}
	}
}

// network sends the metrics of layer 2.
func (s sender) network(n Network) {
	for _, a := range n.Addresses {
		ip := a.Addr.String()
		s.counter(descRequests, a.Requests, ip)
		s.counter(descReplies, a.Replies, ip)
		s.counter(descGratuitous, a.Gratuitous, ip)
		if a.Conflict != "" {
			s.gauge(descConflict, 1, ip)
		}
		for _, node := range a.Contenders {
			s.gauge(descContender, 1, ip, node)
		}
	}
	for result, count := range n.Claims {
		s.counter(descClaims, count, result)
	}
	for verdict, count := range n.Requests {
		s.counter(descPackets, count, verdict)
	}
	damped := 0
	for _, m := range n.Members {
		if m.Damped {
			damped++
		}
	}
	s.gauge(descMembers, float64(len(n.Members)))
	s.gauge(descDamped, float64(damped))
	s.gauge(descMembersStale, one(n.Stale))
	if n.Gossip != nil {
		s.counter(descGossipRefused, n.Gossip.RefusedPackets, "packet")
		s.counter(descGossipRefused, n.Gossip.RefusedConnections, "connection")
		s.gauge(descGossipKeys, float64(n.Gossip.Keys))
		s.counter(descLost, n.Gossip.LostByHeartbeats, "heartbeats")
		s.counter(descLost, n.Gossip.LostByProbes, "probes")
		s.counter(descReturned, n.Gossip.Returned)
		s.gauge(descUntold, float64(n.Gossip.UntoldProbes))
	}
}

func (s sender) counter(d *prometheus.Desc, v uint64, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
}

// endpoint returns a peer's address and port, as MetalLB's metrics name it. For an
// unnumbered peer it returns the interface and the port.
func (p Peer) endpoint() string {
	return net.JoinHostPort(p.ID().Name(), strconv.Itoa(int(cmp.Or(p.Port, 179))))
}

// guard returns the peer of a peer's BFD session: its address, with the interface if the
// address is link-local. It is empty while that is not known.
func (p Peer) guard() string {
	if p.Session.BFDPeer != "" || p.Interface != "" {
		return p.Session.BFDPeer
	}
	return p.Address.String()
}

// vrf returns a peer's VRF, as MetalLB's metrics name it.
func (p Peer) vrf() string { return cmp.Or(p.VRF, "default") }

func one(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func float(n *big.Int) float64 {
	if n == nil {
		return 0
	}
	f, _ := new(big.Float).SetInt(n).Float64()
	return f
}
