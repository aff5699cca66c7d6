// SPDX-License-Identifier: Apache-2.0

package herald_test

import (
	"fmt"
	"slices"
	"strings"
)

var alertCases = []alertCase{
	{
		alert: "MetalLBStaleConfig", bad: []string{`metallb_k8s_client_config_stale_bool{@n1} 1x60`}, labels: "@n1",
		summary: "n1: the newest configuration was refused.",
		good:    []string{`metallb_k8s_client_config_stale_bool{@n1} 0x60`},
	},
	{
		alert: "MetalLBConfigNotLoaded", bad: []string{`metallb_k8s_client_config_loaded_bool{@n1} 0x60`, `metallb_k8s_client_config_loaded_bool{@n2} 1x60`},
		labels: "@n1", summary: "n1: there is no configuration.",
		good: []string{`metallb_k8s_client_config_loaded_bool{@n1} 0x60`, `metallb_k8s_client_config_loaded_bool{@c1} 0x60`},
	},
	{
		alert: "MetalLBConfigNotLoaded", bad: []string{`metallb_k8s_client_config_loaded_bool{@c1} 0x60`, `herald_services_unassigned{@c1,reason="NoConfiguration"} 2x60`},
		labels: "@c1", summary: "herald-controller-1: there is no configuration.",
		good: []string{`metallb_k8s_client_config_loaded_bool{@c1} 1x60`, `herald_services_unassigned{@c1,reason="PoolExhausted"} 2x60`},
	},
	{
		alert: "MetalLBAddressPoolExhausted", bad: []string{`metallb_allocator_addresses_in_use_total{@c1,pool="web"} 11x60`, `metallb_allocator_addresses_total{@c1,pool="web"} 11x60`},
		labels: `@c1,pool="web"`, summary: "Every address of pool web is in use.",
		good: []string{
			`metallb_allocator_addresses_in_use_total{@c1,pool="web"} 10x60`, `metallb_allocator_addresses_total{@c1,pool="web"} 11x60`,
			`metallb_allocator_addresses_in_use_total{@c1,pool="none"} 0x60`, `metallb_allocator_addresses_total{@c1,pool="none"} 0x60`,
		},
	},
	usageCase(75, 76, 75), usageCase(85, 86, 84), usageCase(95, 96, 95),
	{
		alert: "HeraldServicesUnassigned", bad: []string{`herald_services_unassigned{@c1,reason="PoolExhausted"} 3x60`},
		labels: `namespace="metallb-system",reason="PoolExhausted"`, summary: "3 Services have no address: PoolExhausted.",
		good: []string{`herald_services_unassigned{@c1,reason="PoolExhausted"} 3x3 stale`, `herald_services_unassigned{@c1,reason="Foreign"} 1x60`},
	},
	{
		alert: "HeraldServicesUnannounced", bad: []string{`herald_services_unannounced{@c1,reason="NotAnnounced"} 3x60`},
		labels: `namespace="metallb-system",reason="NotAnnounced"`, summary: "3 Services have an address that no node announces: NotAnnounced.",
		good: []string{`herald_services_unannounced{@c1,reason="NoEndpoints"} 3x60`, `herald_services_unannounced{@c1,reason="TooFewEndpoints"} 1x60`},
	},
	{
		alert: "MetalLBBGPSessionDown", bad: []string{
			`metallb_bgp_session_up{@f1,peer="10.0.0.254:179",vrf="default"} 0x60`, `metallb_bgp_session_up{@f2,peer="10.0.0.254:179",vrf="default"} 1x60`,
			`herald_bgp_peer_info{@n1,peer="10.0.0.254:179",vrf="default",name="tor-a"} 1x60`, `herald_bgp_peer_info{@n2,peer="10.0.0.254:179",vrf="default",name="tor-b"} 1x60`,
		},
		labels: `@f1,peer="10.0.0.254:179",vrf="default",name="tor-a"`, summary: "n1: the BGP session with tor-a (10.0.0.254:179) is down.",
		good: []string{`metallb_bgp_session_up{@f1,peer="10.0.0.254:179",vrf="default"} 1 1 0 1x60`, `herald_bgp_peer_info{@n1,peer="10.0.0.254:179",vrf="default",name="tor-a"} 1x60`},
	},
	{
		// The agent is not there: the name is not known.
		alert: "MetalLBBGPSessionDown", bad: []string{`metallb_bgp_session_up{@f1,peer="10.0.0.254:179",vrf="default"} 0x60`},
		labels: `@f1,peer="10.0.0.254:179",vrf="default"`, summary: "n1: the BGP session with a peer (10.0.0.254:179) is down.",
	},
	{
		// Targets without the labels pod and node, and a peer that two nodes name differently.
		alert: "MetalLBBGPSessionDown", bad: []string{
			`metallb_bgp_session_up{instance="a:7473",peer="10.0.0.254:179",vrf="default"} 0x60`,
			`herald_bgp_peer_info{instance="a:7472",peer="10.0.0.254:179",vrf="default",name="tor"} 1x60`, `herald_bgp_peer_info{instance="b:7472",peer="10.0.0.254:179",vrf="default",name="tor"} 1x60`,
		},
		labels: `instance="a:7473",peer="10.0.0.254:179",vrf="default",name="tor"`, summary: "a:7473: the BGP session with tor (10.0.0.254:179) is down.",
	},
	{
		alert: "HeraldBGPSessionFlapping", bad: []string{`metallb_bgp_session_up{@f1,peer="10.0.0.254:179",vrf="default"} 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1`, `herald_bgp_peer_info{@n1,peer="10.0.0.254:179",vrf="default",name="tor-a"} 1x60`},
		labels: `@f1,peer="10.0.0.254:179",vrf="default",name="tor-a"`, summary: "n1: the BGP session with tor-a (10.0.0.254:179) flaps.",
		good: []string{`metallb_bgp_session_up{@f1,peer="10.0.0.254:179",vrf="default"} 1 0 1 1 0 1x60`},
	},
	{
		alert: "HeraldBFDSessionDown", bad: []string{`metallb_bfd_session_up{@f1,peer="10.0.0.254",vrf="default"} 0x60`},
		labels: `@f1,peer="10.0.0.254",vrf="default"`, summary: "n1: the BFD session with 10.0.0.254 is down.",
		good: []string{`metallb_bfd_session_up{@f1,peer="10.0.0.254",vrf="default"} 1 0 1x60`},
	},
	{
		alert: "HeraldAddressConflict", bad: []string{`herald_layer2_conflict{@n1,ip="192.0.2.7"} 1x60`}, labels: `@n1,ip="192.0.2.7"`, summary: "n1: another host has 192.0.2.7.",
		good: []string{`herald_layer2_conflict{@n1,ip="192.0.2.7"} 1 stale`},
	},
	{
		alert: "HeraldAddressClash", bad: []string{`herald_address_clashes{@c1} 2x60`}, labels: `namespace="metallb-system"`, summary: "Another load balancer has given out 2 addresses of Services.",
		good: []string{`herald_address_clashes{@c1} 0x60`},
	},
	{
		alert: "HeraldGossipStale", bad: []string{`herald_members_stale{@n1} 1x60`}, labels: "@n1", summary: "n1: the agent does not know which other agents are alive.",
		good: []string{`herald_members_stale{@n1} 1 0x60`},
	},
	{
		// A split in two halves of the same size would be hidden if agents were compared with each other.
		alert: "HeraldMembersDisagree", bad: []string{`herald_members{@n1} 1x60`, `herald_members{@n2} 2x60`}, labels: "@n1", summary: "n1: the agent knows only 1 of the agents.",
		good: []string{`herald_members{@n1} 2x60`, `herald_members{@n2} 2x60`, `herald_members{@n3} 0x60`},
	},
	{
		alert: "HeraldFRRNotApplied", bad: []string{`herald_frr_applied{@n1} 0x60`}, labels: "@n1", summary: "n1: FRR does not run the configuration that it is to run.",
		good: []string{`herald_frr_applied{@n1} 0x3 1x60`},
	},
	{
		alert: "HeraldRawConfigRefused", bad: []string{`herald_frr_extras_applied{@n1} 0x60`}, labels: "@n1", summary: "n1: FRR refuses the raw configuration.",
		good: []string{`herald_frr_extras_applied{@n1} 1x60`},
	},
	{
		alert: "HeraldFRRWithdrawn", bad: []string{`herald_frr_withdrawn{@f1} 1x60`}, labels: "@f1", summary: "n1: FRR has withdrawn every route, because the node's agent is not alive.",
		good: []string{`herald_frr_withdrawn{@f1} 0x60`},
	},
	{
		alert: "HeraldFRRDown", bad: []string{`herald_frr_process_up{@f1,daemon="bgpd"} 0x60`}, labels: `@f1,daemon="bgpd"`, summary: "n1: FRR's bgpd does not run or does not answer.",
		good: []string{`herald_frr_process_up{@f1,daemon="bgpd"} 1 0 1x60`},
	},
	{
		alert: "HeraldFRRRestarts", bad: []string{`herald_frr_process_restarts_total{@f1,daemon="bgpd"} 0+1x60`}, labels: `@f1,daemon="bgpd"`, summary: "n1: FRR's bgpd is started again and again.",
		good: []string{`herald_frr_process_restarts_total{@f1,daemon="bgpd"} 0x10 1x60`},
	},
	{
		alert: "HeraldAgentAbsent", bad: []string{`herald_leading{@c1} 1x60`}, summary: "No agent answers on any node.",
		good: []string{`herald_members{@n1} 1x60`},
	},
	{
		alert: "HeraldAgentDown", bad: []string{`up{@n1} 0x60`}, labels: "@n1", summary: "n1: the agent does not answer.",
		good: []string{`up{@n1} 0x9 1x60`, `up{@c1} 0x60`},
	},
	{
		alert: "HeraldControllerAbsent", bad: []string{`herald_members{@n1} 1x60`}, summary: "No controller answers.",
		good: []string{`herald_leading{@c1} 0x60`},
	},
	{
		alert: "HeraldNoLeader", bad: []string{`herald_leading{@c1} 0x60`, `herald_leading{@c2} 0x60`}, labels: `namespace="metallb-system"`, summary: "No controller leads.",
		good: []string{`herald_leading{@c1} 1x10 0x60`, `herald_leading{@c2} 0x11 1x60`},
	},
	{
		alert: "HeraldSeveralLeaders", bad: []string{`herald_leading{@c1} 1x60`, `herald_leading{@c2} 1x60`}, labels: `namespace="metallb-system"`, summary: "2 controllers lead.",
		good: []string{`herald_leading{@c1,cluster="a"} 1x60`, `herald_leading{@c1,cluster="b"} 1x60`},
	},
	{
		alert: "HeraldNodeSilent", bad: []string{`herald_decisions{@n1,protocol="bgp",reason="DataPlaneNotReady"} 5x60`, `herald_decisions{@n2,protocol="bgp",reason="Announced"} 5x60`},
		labels: "@n1", summary: "n1 announces nothing, while other nodes do.",
		good: []string{
			`herald_decisions{@n1,protocol="bgp",reason="DataPlaneNotReady"} 5x60`, `herald_decisions{@n1,protocol="bgp",reason="Announced"} 1x60`,
			`herald_decisions{@n2,protocol="bgp",reason="NoLocalEndpoints"} 5x60`, `herald_decisions{@n3,protocol="bgp",reason="NodeDraining"} 5x60`,
		},
	},
	{
		alert: "HeraldProbesFailing", bad: []string{`herald_probes{@n1,state="failing"} 2x60`}, labels: `@n1,state="failing"`, summary: "n1: probes of 2 addresses fail.",
		good: []string{`herald_probes{@n1,state="failing"} 0x60`, `herald_probes{@n1,state="passing"} 2x60`},
	},
	{
		alert: "HeraldQuotaNearlyFull", bad: []string{`herald_pool_quota_in_use{@c1,pool="web",exported_namespace="team-a",family="IPv4"} 19x60`, `herald_pool_quota_limit{@c1,pool="web",exported_namespace="team-a"} 20x60`},
		labels: `@c1,pool="web",exported_namespace="team-a",family="IPv4"`, summary: "Namespace team-a has used 95% of its quota in pool web.",
		good: []string{`herald_pool_quota_in_use{@c1,pool="web",exported_namespace="team-a",family="IPv4"} 18x60`, `herald_pool_quota_limit{@c1,pool="web",exported_namespace="team-a"} 20x60`},
	},
	{
		alert: "HeraldAPIErrors", bad: []string{`metallb_k8s_client_update_errors_total{@n1} 0+1x60`}, labels: "@n1", summary: "n1: writes to the API server fail.", at: "40m",
		good: []string{`metallb_k8s_client_update_errors_total{@n1} 0x10 10x60`},
	},
	{
		alert: "HeraldStatusContested", bad: []string{`herald_status_contests{@c1,kind="IPAddressPool"} 2x60`}, labels: `namespace="metallb-system",kind="IPAddressPool"`,
		summary: "Another writer keeps changing the status of 2 objects of kind IPAddressPool.",
		good:    []string{`herald_status_contests{@c1,kind="IPAddressPool"} 2x10 stale`},
	},
}

// usageCase returns the case of a pool that is used beyond a threshold, and of one that is not.
func usageCase(percent, bad, good int) alertCase {
	series := func(used int) []string {
		return []string{fmt.Sprintf(`metallb_allocator_addresses_in_use_total{@c1,pool="web"} %dx60`, used), `metallb_allocator_addresses_total{@c1,pool="web"} 100x60`}
	}
	return alertCase{
		alert: fmt.Sprintf("MetalLBAddressPoolUsage%dPercent", percent), bad: series(bad), good: series(good), labels: `@c1,pool="web"`,
		summary: fmt.Sprintf("More than %d %% of the addresses of pool web are in use.", percent),
	}
}

// lives returns the series of an agent and its FRR whose life is like this: G stands for a
// value of a healthy one, S for one that starts, E for the first scrape that fails and D for
// those after it.
func lives(pod, life string) []string {
	var out []string
	for _, s := range []struct{ name, labels, good, starts string }{
		{"up", "@n", "1", "1"}, {"herald_members", "@n", "3", "1"}, {"herald_members_stale", "@n", "0", "1"},
		{"metallb_k8s_client_config_loaded_bool", "@n", "1", "0"}, {"metallb_k8s_client_config_stale_bool", "@n", "0", "0"},
		{"metallb_k8s_client_update_errors_total", "@n", "0", "0"}, {"herald_frr_applied", "@n", "1", "0"},
		{"herald_decisions", `protocol="bgp",reason="Announced",@n`, "9", "_"}, {"herald_decisions", `protocol="bgp",reason="DataPlaneNotReady",@n`, "_", "9"},
		{"herald_bgp_peer_info", `peer="10.0.0.254:179",vrf="default",name="tor",@n`, "1", "1"},
		{"metallb_bgp_session_up", `peer="10.0.0.254:179",vrf="default",@f`, "1", "0"}, {"metallb_bfd_session_up", `peer="10.0.0.254",vrf="default",@f`, "1", "0"},
		{"herald_frr_process_up", `daemon="bgpd",@f`, "1", "0"}, {"herald_frr_process_restarts_total", `daemon="bgpd",@f`, "0", "0"}, {"herald_frr_withdrawn", "@f", "0", "0"},
	} {
		ends, down := "stale", "_"
		if s.name == "up" {
			ends, down = "0", "0"
		}
		out = append(out, fmt.Sprintf("%s{%s%s} %s", s.name, s.labels, pod, strings.NewReplacer("G", s.good, "S", s.starts, "E", ends, "D", down).Replace(life)))
	}
	return out
}

// sees is lives, of an agent that knows so many others.
func sees(pod, members string) []string {
	return append(slices.DeleteFunc(lives(pod, "Gx60"), func(s string) bool { return strings.HasPrefix(s, "herald_members{") }),
		fmt.Sprintf("herald_members{@n%s} %s", pod, members))
}

// quietTimes are times in which nobody is to be woken.
var quietTimes = [][]string{
	// Nothing happens.
	slices.Concat([]string{`herald_leading{@c1} 1x60`, `herald_leading{@c2} 0x60`}, lives("1", "Gx60"), lives("2", "Gx60"), lives("3", "Gx60")),
	// An update: controllers and agents are replaced. Of these the pod 4 takes the place of the pod 1.
	slices.Concat(sees("2", "3x12 2 3x50"), sees("3", "3x12 2 3x50"), lives("1", "Gx12 E"), lives("4", "_x12 S Gx50"), []string{
		`herald_leading{@c1} 1x9 stale`, `herald_leading{@c2} 0x10 1x50`, `herald_leading{@c3} _x10 0x50`,
		`metallb_k8s_client_config_loaded_bool{@c1} 1x9 stale`, `metallb_k8s_client_config_loaded_bool{@c3} _x10 0 1x50`, `up{@c1} 1x9 0 stale`,
	}),
	// A node reboots, and is back after 5 minutes.
	slices.Concat(sees("2", "3x9 2x5 3x50"), sees("3", "3x9 2x5 3x50"), lives("1", "Gx9 E Dx4 S Gx50"), []string{`herald_leading{@c1} 1x60`, `herald_leading{@c2} 0x60`}),
	// A fresh installation: no pool, no peer, no Service.
	{
		`herald_leading{@c1} _ 1x60`, `herald_leading{@c2} _ 0x60`, `herald_members{@n1} _ 1 2x60`, `herald_members{@n2} _ _ 2x60`, `herald_members_stale{@n1} _ 1 0x60`,
		`metallb_k8s_client_config_loaded_bool{@c1} 0x60`, `metallb_k8s_client_config_loaded_bool{@n1} 0x60`, `metallb_k8s_client_config_stale_bool{@n1} 0x60`,
		`herald_frr_applied{@n1} _ 0 0 1x60`, `herald_frr_process_up{daemon="bgpd",@f1} _ 1x60`, `up{@n1} _ 1x60`, `herald_address_clashes{@c1} _ 0x60`,
	},
}
