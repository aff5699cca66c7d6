// SPDX-License-Identifier: Apache-2.0

package sidecar

import (
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/heraldlb/herald/frr/frrtest"
)

// A metricsRig is a collector that asks daemons with prepared answers.
type metricsRig struct {
	t          *testing.T
	bgpd, bfdd *frrtest.Daemon
	supervisor *Supervisor
	metrics    *prometheus.Registry
	log        strings.Builder
}

func newMetricsRig(t *testing.T) *metricsRig {
	r := &metricsRig{t: t, bgpd: frrtest.New("bgpd"), bfdd: frrtest.New("bfdd"), metrics: prometheus.NewPedanticRegistry()}
	h := newFakeHost(t)
	for command, file := range map[string]string{
		"show bgp vrf all neighbors json": "neighbors.json",
		"show bfd peers json":             "bfd.json",
		"show bfd peers counters json":    "bfd-counters.json",
	} {
		text, err := os.ReadFile("testdata/" + file)
		if err != nil {
			t.Fatal(err)
		}
		d := r.bfdd
		if strings.HasPrefix(command, "show bgp") {
			d = r.bgpd
		}
		d.Reply(command, string(text), 0)
	}
	r.bgpd.Reply("show running-config", `router bgp 64512
 neighbor 2001:db8::2 port 1179
exit
router bgp 64512 vrf red
 neighbor 10.0.0.1 port 2179
exit
`, 0)
	r.bgpd.Start(t, h.dir)
	r.bfdd.Start(t, h.dir)
	r.supervisor = NewSupervisor(SupervisorOptions{Daemons: []string{"bfdd", "bgpd"}, Logger: quiet})
	r.bfddServes()
	watch := NewAgentWatch(AgentWatchOptions{Logger: quiet})
	r.metrics.MustRegister(NewCollector(h.dir, r.supervisor, watch, slog.New(slog.NewTextHandler(&r.log, nil))))
	return r
}

// bfddServes makes bfdd a daemon that was started and has been ready.
func (r *metricsRig) bfddServes() {
	r.supervisor.Need("bfdd", true)
	r.supervisor.child("bfdd").serves = true
}

// series returns all metrics: "counter name{label="value"} 1".
func (r *metricsRig) series() []string {
	r.t.Helper()
	families, err := r.metrics.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	var all []string
	for _, f := range families {
		for _, m := range f.Metric {
			labels := make([]string, 0, len(m.Label))
			for _, l := range m.Label {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			kind, value := strings.ToLower(f.GetType().String()), m.GetGauge().GetValue()
			if kind == "counter" {
				value = m.GetCounter().GetValue()
			}
			all = append(all, fmt.Sprintf("%s %s{%s} %v", kind, f.GetName(), strings.Join(labels, ","), value))
		}
	}
	slices.Sort(all)
	return all
}

// Each number of FRR's is another, so that one in another's place shows. The peers
// are one with IPv4, one with IPv6, one that is unnumbered, and one in a VRF.
func TestMetrics(t *testing.T) {
	// By peer, in the order of the peers below.
	bgp := []struct {
		name, kind string
		values     [4]int
	}{
		{"session_up", "gauge", [4]int{1, 1, 0, 1}},
		{"announced_prefixes_total", "gauge", [4]int{1101, 1300, 0, 1401}}, // IPv4 and IPv6 of one peer are summed up
		{"received_prefixes_total", "gauge", [4]int{1102, 1302, 0, 1402}},
		{"opens_sent", "counter", [4]int{111, 211, 311, 411}},
		{"opens_received", "counter", [4]int{112, 212, 312, 412}},
		{"notifications_sent", "counter", [4]int{113, 213, 313, 413}},
		{"updates_total", "counter", [4]int{115, 215, 315, 415}},
		{"updates_total_received", "counter", [4]int{116, 216, 316, 416}},
		{"keepalives_sent", "counter", [4]int{117, 217, 317, 417}},
		{"keepalives_received", "counter", [4]int{118, 218, 318, 418}},
		{"route_refresh_sent", "counter", [4]int{119, 219, 319, 419}},
		{"total_sent", "counter", [4]int{121, 221, 321, 421}},
		{"total_received", "counter", [4]int{122, 222, 322, 422}},
	}
	bfd := []struct {
		name, kind string
		values     [4]int
	}{
		{"session_up", "gauge", [4]int{1, 0, 1, 0}},
		{"control_packet_input", "counter", [4]int{131, 231, 331, 431}},
		{"control_packet_output", "counter", [4]int{132, 232, 332, 432}},
		{"echo_packet_input", "counter", [4]int{133, 233, 333, 433}},
		{"echo_packet_output", "counter", [4]int{134, 234, 334, 434}},
		{"session_up_events", "counter", [4]int{135, 235, 335, 435}},
		{"session_down_events", "counter", [4]int{136, 236, 336, 436}},
		{"zebra_notifications", "counter", [4]int{137, 237, 337, 437}},
	}
	const own = `gauge herald_frr_process_up{daemon="bfdd"} 0
gauge herald_frr_process_up{daemon="bgpd"} 0
counter herald_frr_process_restarts_total{daemon="bfdd"} 0
counter herald_frr_process_restarts_total{daemon="bgpd"} 0
gauge herald_frr_withdrawn{} 0`
	bgpPeers := [4]string{
		`peer="10.0.0.1:179",vrf="default"`, `peer="[2001:db8::2]:1179",vrf="default"`,
		`peer="eth1:179",vrf="default"`, `peer="10.0.0.1:2179",vrf="red"`,
	}
	bfdPeers := [4]string{
		`peer="10.0.0.1",vrf="default"`, `peer="2001:db8::2",vrf="default"`,
		`peer="fe80::1%eth1",vrf="default"`, `peer="10.0.0.1",vrf="red"`,
	}
	withoutBFD := strings.Split(own, "\n")
	for _, m := range bgp {
		for i, peer := range bgpPeers {
			withoutBFD = append(withoutBFD, fmt.Sprintf("%s metallb_bgp_%s{%s} %d", m.kind, m.name, peer, m.values[i]))
		}
	}
	want := slices.Clone(withoutBFD)
	for _, m := range bfd {
		for i, peer := range bfdPeers {
			want = append(want, fmt.Sprintf("%s metallb_bfd_%s{%s} %d", m.kind, m.name, peer, m.values[i]))
		}
	}
	slices.Sort(withoutBFD)
	slices.Sort(want)

	r := newMetricsRig(t)
	if diff := cmp.Diff(want, r.series()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if r.log.Len() > 0 {
		t.Errorf("it was logged: %s", r.log.String())
	}
	// A bfdd that hangs costs its metrics alone, and is logged once.
	r.bfdd.Hang(true)
	for range 2 {
		if diff := cmp.Diff(withoutBFD, r.series()); diff != "" {
			t.Errorf("bfdd hangs (-want +got):\n%s", diff)
		}
	}
	if n := strings.Count(r.log.String(), `msg="metrics of sessions incomplete" err="bfdd: `); n != 1 {
		t.Errorf("it was logged %d times: %s", n, r.log.String())
	}
	r.bfdd.Hang(false)
	if diff := cmp.Diff(want, r.series()); diff != "" {
		t.Errorf("bfdd answers again (-want +got):\n%s", diff)
	}
	if n := strings.Count(r.log.String(), `msg="metrics of sessions complete again"`); n != 1 {
		t.Errorf("it was logged %d times: %s", n, r.log.String())
	}
	// One that nothing needs is not asked. It is not down either.
	r.bfdd.Stop()
	r.supervisor.Need("bfdd", false)
	r.log.Reset()
	idle := slices.DeleteFunc(slices.Clone(withoutBFD), func(s string) bool { return s == `gauge herald_frr_process_up{daemon="bfdd"} 0` })
	if diff := cmp.Diff(idle, r.series()); diff != "" {
		t.Errorf("nothing needs bfdd (-want +got):\n%s", diff)
	}
	if r.log.Len() > 0 {
		t.Errorf("nothing needs bfdd, and it was logged: %s", r.log.String())
	}
	// One that is just being started is not asked either.
	r.supervisor.Need("bfdd", true)
	if diff := cmp.Diff(withoutBFD, r.series()); diff != "" || r.log.Len() > 0 {
		t.Errorf("bfdd is being started (-want +got):\n%s\nlog: %s", diff, r.log.String())
	}
	r.bgpd.Stop()
	if diff := cmp.Diff(slices.Sorted(slices.Values(strings.Split(own, "\n"))), r.series()); diff != "" {
		t.Errorf("without bgpd (-want +got):\n%s", diff)
	}
}

// Two BFD sessions with one peer are no two series with the same labels, which
// would make the whole page an error.
func TestMetricsOfTwoBFDSessions(t *testing.T) {
	r := newMetricsRig(t)
	const session = `{"multihop":%v,"peer":"10.0.0.1","local":"10.0.0.%d","vrf":"default","interface":"eth%[2]d","status":"up","session-up":%[2]d}`
	text := "[" + fmt.Sprintf(session, false, 8) + "," + fmt.Sprintf(session, false, 9) + "," + fmt.Sprintf(session, true, 8) + "]"
	r.bfdd.Reply("show bfd peers json", text, 0)
	r.bfdd.Reply("show bfd peers counters json", text, 0)
	have := make(map[string]bool)
	for _, s := range r.series() {
		have[s] = true
	}
	for _, want := range []string{
		`gauge metallb_bfd_session_up{peer="10.0.0.1",vrf="default"} 1`,
		`counter metallb_bfd_session_up_events{peer="10.0.0.1",vrf="default"} 25`,
	} {
		if !have[want] {
			t.Errorf("no %s in\n%s", want, strings.Join(slices.Sorted(maps.Keys(have)), "\n"))
		}
	}
}
