// SPDX-License-Identifier: Apache-2.0

package sidecar

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/heraldlb/herald/frr"
	"github.com/heraldlb/herald/frr/conf"
)

// scrapeTimeout is how long FRR may take to answer one scrape.
const scrapeTimeout = 5 * time.Second

// A Collector asks FRR for its counters at every scrape, and makes metrics of them
// with MetalLB's names. It adds metrics of the daemons' health.
type Collector struct {
	supervisor *Supervisor
	agent      *AgentWatch
	log        *slog.Logger

	mu         sync.Mutex // held while FRR is asked: a connection has one user
	reader     *frr.Reader
	incomplete bool // the last scrape, which was logged
}

// NewCollector returns a Collector of the daemons with vty sockets in runDir.
func NewCollector(runDir string, s *Supervisor, a *AgentWatch, log *slog.Logger) *Collector {
	return &Collector{supervisor: s, agent: a, log: log, reader: frr.NewReader(runDir)}
}

// A metric is a metric of one session and how to compute its value.
type metric[T any] struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(T) float64
}

var sessionLabels = []string{"peer", "vrf"}

// of returns a metric of one session.
func of[T any](name, help string, kind prometheus.ValueType, value func(T) float64) metric[T] {
	return metric[T]{prometheus.NewDesc(name, help, sessionLabels, nil), kind, value}
}

const (
	gauge = prometheus.GaugeValue
	count = prometheus.CounterValue
)

var bgpMetrics = []metric[frr.BGPCounters]{
	of("metallb_bgp_session_up", "1 if the BGP session is established.", gauge,
		func(c frr.BGPCounters) float64 { return one(c.Up) }),
	of("metallb_bgp_announced_prefixes_total", "Number of prefixes that the peer was sent.", gauge,
		func(c frr.BGPCounters) float64 { return float64(c.PrefixesSent) }),
	of("metallb_bgp_received_prefixes_total", "Number of prefixes accepted from the peer.", gauge,
		func(c frr.BGPCounters) float64 { return float64(c.PrefixesAccepted) }),
	of("metallb_bgp_opens_sent", "Number of OPEN messages sent.", count,
		func(c frr.BGPCounters) float64 { return float64(c.OpensSent) }),
	of("metallb_bgp_opens_received", "Number of OPEN messages received.", count,
		func(c frr.BGPCounters) float64 { return float64(c.OpensReceived) }),
	of("metallb_bgp_notifications_sent", "Number of NOTIFICATION messages sent.", count,
		func(c frr.BGPCounters) float64 { return float64(c.NotificationsSent) }),
	of("metallb_bgp_updates_total", "Number of UPDATE messages sent.", count,
		func(c frr.BGPCounters) float64 { return float64(c.UpdatesSent) }),
	of("metallb_bgp_updates_total_received", "Number of UPDATE messages received.", count,
		func(c frr.BGPCounters) float64 { return float64(c.UpdatesReceived) }),
	of("metallb_bgp_keepalives_sent", "Number of KEEPALIVE messages sent.", count,
		func(c frr.BGPCounters) float64 { return float64(c.KeepalivesSent) }),
	of("metallb_bgp_keepalives_received", "Number of KEEPALIVE messages received.", count,
		func(c frr.BGPCounters) float64 { return float64(c.KeepalivesReceived) }),
	of("metallb_bgp_route_refresh_sent", "Number of ROUTE-REFRESH messages sent.", count,
		func(c frr.BGPCounters) float64 { return float64(c.RouteRefreshSent) }),
	of("metallb_bgp_total_sent", "Number of messages sent.", count,
		func(c frr.BGPCounters) float64 { return float64(c.TotalSent) }),
	of("metallb_bgp_total_received", "Number of messages received.", count,
		func(c frr.BGPCounters) float64 { return float64(c.TotalReceived) }),
}

var bfdMetrics = []metric[frr.BFDCounters]{
	of("metallb_bfd_session_up", "1 if the BFD session is up.", gauge,
		func(c frr.BFDCounters) float64 { return one(c.Up) }),
	of("metallb_bfd_control_packet_input", "Number of control packets received.", count,
		func(c frr.BFDCounters) float64 { return float64(c.ControlInput) }),
	of("metallb_bfd_control_packet_output", "Number of control packets sent.", count,
		func(c frr.BFDCounters) float64 { return float64(c.ControlOutput) }),
	of("metallb_bfd_echo_packet_input", "Number of echo packets received.", count,
		func(c frr.BFDCounters) float64 { return float64(c.EchoInput) }),
	of("metallb_bfd_echo_packet_output", "Number of echo packets sent.", count,
		func(c frr.BFDCounters) float64 { return float64(c.EchoOutput) }),
	of("metallb_bfd_session_up_events", "Number of times that the session came up.", count,
		func(c frr.BFDCounters) float64 { return float64(c.UpEvents) }),
	of("metallb_bfd_session_down_events", "Number of times that the session went down.", count,
		func(c frr.BFDCounters) float64 { return float64(c.DownEvents) }),
	of("metallb_bfd_zebra_notifications", "Number of notifications from zebra.", count,
		func(c frr.BFDCounters) float64 { return float64(c.ZebraNotifications) }),
}

var (
	descDaemonUp = prometheus.NewDesc("herald_frr_process_up",
		"1 if the FRR daemon runs and answers. A daemon that nothing needs has none.", []string{"daemon"}, nil)
	descRestarts = prometheus.NewDesc("herald_frr_process_restarts_total",
		"Number of times that the FRR daemon was started again after it ended or hung.", []string{"daemon"}, nil)
	descWithdrawn = prometheus.NewDesc("herald_frr_withdrawn",
		"1 if all routes are withdrawn because no agent is there.", nil, nil)
)

// Describe sends nothing: which sessions exist is known only at the scrape.
func (*Collector) Describe(chan<- *prometheus.Desc) {}

// Collect sends all metrics. If a daemon does not answer, the metrics of its sessions
// are missing and its herald_frr_process_up is 0.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	send := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, kind, v, labels...)
	}
	for _, d := range c.supervisor.Health() {
		if !d.Idle {
			send(descDaemonUp, gauge, one(d.Up), d.Name)
		}
		send(descRestarts, count, float64(d.Restarts), d.Name)
	}
	send(descWithdrawn, gauge, one(c.agent.Withdrawn()))

	counters := c.count()
	for _, s := range counters.BGP {
		for _, m := range bgpMetrics {
			send(m.desc, m.kind, m.value(s), endpoint(s), s.VRF)
		}
	}
	for _, s := range counters.BFD {
		for _, m := range bfdMetrics {
			send(m.desc, m.kind, m.value(s), s.Name(), s.VRF)
		}
	}
}

// count asks FRR, and logs when answers start or stop being incomplete.
func (c *Collector) count() frr.Counters {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	counters, err := c.reader.Counters(ctx, c.supervisor.Serves(conf.BFDD))
	err = cmp.Or(err, counters.BFDError)
	switch incomplete := err != nil; {
	case incomplete && !c.incomplete:
		c.log.Warn("metrics of sessions incomplete", "err", err)
	case !incomplete && c.incomplete:
		c.log.Info("metrics of sessions complete again")
	}
	c.incomplete = err != nil
	return counters
}

// endpoint returns a peer's address and port, as MetalLB's metrics name it.
func endpoint(s frr.BGPCounters) string {
	port := s.Port
	if port == 0 {
		port = 179
	}
	return net.JoinHostPort(s.Peer, strconv.Itoa(int(port)))
}

func one(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
