// SPDX-License-Identifier: Apache-2.0

package bgp_test

import (
	"testing"
)

// What an advertisement says of peers and attributes, as objects are edited.
//
// Acceptance: B048, B051, B055, B057, B088-B095.
func TestBGPResourcesAttributes(t *testing.T) {
	r := newRouteTest(t)
	const all = "web from n1 n2 n3"
	web := []routeService{{"web", "one", ""}}
	two := []routeService{{"web", "one", ""}, {"other", "two", ""}}
	r.run([]routeCase{
		{"attributes by name", web, []routeStep{
			{
				name: "named", alias: "65010:9",
				ads: map[string]string{"ad": "ipAddressPools: [one], communities: [mine, 'large:65010:1:2', no-export, '65010:8'], localPref: 150"},
				want: routing{
					ibgp: []string{all + " with 65010:8 65010:9 65535:65281 65010:1:2 pref 150"},
					ebgp: []string{all + " with 65010:8 65010:9 65535:65281 65010:1:2"},
					r1:   []string{all},
				},
			},
			{
				name: "the name stands for another", alias: "large:65010:7:7",
				want: routing{
					ibgp: []string{all + " with 65010:8 65535:65281 65010:1:2 65010:7:7 pref 150"},
					ebgp: []string{all + " with 65010:8 65535:65281 65010:1:2 65010:7:7"},
					r1:   []string{all},
				},
			},
			{
				name: "edited", ads: map[string]string{"ad": "ipAddressPoolSelectors: [{matchLabels: {tier: one}}], communities: [mine], localPref: 300"},
				want: routing{
					ibgp: []string{all + " with 65010:7:7 pref 300"},
					ebgp: []string{all + " with 65010:7:7"},
					r1:   []string{all},
				},
			},
		}},
		{"numbers", web, []routeStep{
			{
				name: "worse", ads: map[string]string{"ad": "ipAddressPools: [one], med: 70, asPathPrepend: 2"},
				want: routing{ibgp: []string{all + " med 70"}, ebgp: []string{all + " med 70 path 64512 64512 64512"}, r1: []string{all}},
			},
			{
				name: "going", ads: map[string]string{"ad": "ipAddressPools: [one], gracefulShutdown: true, localPref: 150"},
				want: routing{ibgp: []string{all + " with 65535:0 pref 0"}, ebgp: []string{all + " with 65535:0"}, r1: []string{all}},
			},
		}},
		{"peers of two pools", two, []routeStep{
			{
				name: "one router each", ads: map[string]string{
					"first":  "ipAddressPools: [one], peers: [ibgp, ibgp-v6]",
					"second": "ipAddressPools: [two], peers: [ebgp, ebgp-v6]",
				},
				want: routing{ibgp: []string{"web from n1 n2 n3"}, ebgp: []string{"other from n1 n2 n3"}},
			},
			{
				name: "no restriction", ads: map[string]string{"first": "ipAddressPools: [one]", "second": "ipAddressPools: [two]"},
				want: everywhere("other from n1 n2 n3", "web from n1 n2 n3"),
			},
			{
				name: "a peer that does not exist", ads: map[string]string{"first": "ipAddressPools: [one], peers: [nobody]", "second": "ipAddressPools: [two]"},
				want: everywhere("other from n1 n2 n3"),
			},
		}},
		{"a community for each peer", web, []routeStep{
			{
				name: "two routers", ads: map[string]string{
					"first":  "ipAddressPools: [one], communities: ['65010:1'], peers: [ibgp, ibgp-v6]",
					"second": "ipAddressPools: [one], communities: ['65010:2'], peers: [ebgp, ebgp-v6]",
				},
				want: routing{ibgp: []string{all + " with 65010:1"}, ebgp: []string{all + " with 65010:2"}},
			},
			{
				name: "and one for all", ads: map[string]string{
					"first":  "ipAddressPools: [one], communities: ['65010:1'], peers: [ibgp, ibgp-v6]",
					"second": "ipAddressPools: [one], communities: ['65010:2'], peers: [ebgp, ebgp-v6]",
					"third":  "ipAddressPools: [one], communities: ['65010:3']",
				},
				want: routing{ibgp: []string{all + " with 65010:1 65010:3"}, ebgp: []string{all + " with 65010:2 65010:3"}, r1: []string{all}},
			},
		}},
	}, oneFamily, dualStack)
}

// Which nodes announce for an advertisement, as it and their labels are edited.
//
// Acceptance: B049, B056, B105-B116.
func TestBGPResourcesNodes(t *testing.T) {
	r := newRouteTest(t)
	on := func(pool, nodes, more string) string {
		return "ipAddressPools: [" + pool + "], nodeSelectors: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [" + nodes + "]}]}]" + more
	}
	two := []routeService{{"web", "one", ""}, {"other", "two", ""}}
	web := two[:1]
	r.run([]routeCase{
		{"two Services", two, []routeStep{
			{
				name: "two nodes and two", ads: map[string]string{"first": on("one", "n1, n2", ""), "second": on("two", "n2, n3", "")},
				want: everywhere("other from n2 n3", "web from n1 n2"),
			},
			{
				name: "one and two", ads: map[string]string{"first": on("one", "n1", ""), "second": on("two", "n2, n3", "")},
				want: everywhere("other from n2 n3", "web from n1"),
			},
			{
				name: "none and two", ads: map[string]string{"first": on("one", "nowhere", ""), "second": on("two", "n1, n2", "")},
				want: everywhere("other from n1 n2"),
			},
			{
				name: "all and none", ads: map[string]string{"first": "ipAddressPools: [one]", "second": on("two", "nowhere", "")},
				want: everywhere("web from n1 n2 n3"),
			},
			{
				name: "selectors add up", ads: map[string]string{
					"first":  "ipAddressPools: [one], nodeSelectors: [{matchLabels: {kubernetes.io/hostname: n1}}, {matchLabels: {kubernetes.io/hostname: n3}}]",
					"second": on("two", "n2", ""),
				},
				want: everywhere("other from n2", "web from n1 n3"),
			},
		}},
		{"one Service, two communities", web, []routeStep{
			{
				name: "two nodes and two",
				ads:  map[string]string{"first": on("one", "n1, n2", ", communities: ['65010:1']"), "second": on("one", "n2, n3", ", communities: ['65010:2']")},
				want: everywhere("web from n1 with 65010:1", "web from n2 with 65010:1 65010:2", "web from n3 with 65010:2"),
			},
			{
				name: "one and two",
				ads:  map[string]string{"first": on("one", "n1", ", communities: ['65010:1']"), "second": on("one", "n2, n3", ", communities: ['65010:2']")},
				want: everywhere("web from n1 with 65010:1", "web from n2 n3 with 65010:2"),
			},
			{
				name: "none and two",
				ads:  map[string]string{"first": on("one", "nowhere", ", communities: ['65010:1']"), "second": on("one", "n2, n3", ", communities: ['65010:2']")},
				want: everywhere("web from n2 n3 with 65010:2"),
			},
			{
				name: "two preferences apart",
				ads:  map[string]string{"first": on("one", "n1", ", localPref: 200"), "second": on("one", "n2", ", localPref: 300")},
				want: routing{
					ibgp: []string{"web from n1 pref 200", "web from n2 pref 300"},
					ebgp: []string{"web from n1 n2"},
					r1:   []string{"web from n1 n2"},
				},
			},
		}},
		{"labels of nodes", web, []routeStep{
			{name: "no node has it", ads: map[string]string{"ad": "ipAddressPools: [one], nodeSelectors: [{matchLabels: {zone: edge}}]"}},
			{name: "one has it", zones: map[string]string{"n2": "edge"}, want: everywhere("web from n2")},
			{name: "two have it", zones: map[string]string{"n3": "edge"}, want: everywhere("web from n2 n3")},
			{name: "another value", zones: map[string]string{"n2": "core"}, want: everywhere("web from n3")},
			{name: "none again", zones: map[string]string{"n2": "", "n3": ""}},
		}},
	}, oneFamily)
}

// Which Services an advertisement is about, as it and their labels are edited.
//
// Acceptance: B050, B052, B054, B058, B121-B134.
func TestBGPResourcesServices(t *testing.T) {
	r := newRouteTest(t)
	const app = "serviceSelectors: [{matchLabels: {app: web}}]"
	pair := []routeService{{"web", "one", "web"}, {"other", "one", "other"}}
	r.run([]routeCase{
		{"pool and labels", []routeService{{"web", "one", "web"}, {"elsewhere", "two", "web"}, {"bare", "one", ""}, {"neither", "two", "other"}}, []routeStep{
			{name: "by name", ads: map[string]string{"ad": "ipAddressPools: [one], " + app}, want: everywhere("web from n1 n2 n3")},
			{
				name: "by label", ads: map[string]string{"ad": "ipAddressPoolSelectors: [{matchLabels: {tier: two}}], " + app},
				want: everywhere("elsewhere from n1 n2 n3"),
			},
		}},
		{"one of several labels", []routeService{{"front", "one", "front"}, {"back", "one", "back"}, {"other", "one", "other"}}, []routeStep{
			{
				name: "two selectors", ads: map[string]string{"ad": "ipAddressPools: [one], serviceSelectors: [{matchLabels: {app: front}}, {matchLabels: {app: back}}]"},
				want: everywhere("back from n1 n2 n3", "front from n1 n2 n3"),
			},
		}},
		{"edited", pair, []routeStep{
			{name: "one", ads: map[string]string{"ad": "ipAddressPools: [one], " + app}, want: everywhere("web from n1 n2 n3")},
			{
				name: "the other", ads: map[string]string{"ad": "ipAddressPools: [one], serviceSelectors: [{matchLabels: {app: other}}]"},
				want: everywhere("other from n1 n2 n3"),
			},
			{name: "Services change places", apps: map[string]string{"web": "other", "other": "web"}, want: everywhere("web from n1 n2 n3")},
			{name: "both", apps: map[string]string{"other": "other"}, want: everywhere("other from n1 n2 n3", "web from n1 n2 n3")},
			{name: "none", apps: map[string]string{"web": "a", "other": "b"}},
		}},
		{"host route beside the aggregate", pair, []routeStep{
			{
				name: "both", ads: map[string]string{
					"host":      "ipAddressPools: [one], communities: ['65010:1'], " + app,
					"aggregate": "ipAddressPools: [one], aggregationLength: 24, aggregationLengthV6: 120",
				},
				want: everywhere("all of one from n1 n2 n3", "web from n1 n2 n3 with 65010:1"),
			},
			{
				name: "another Service", apps: map[string]string{"web": "none", "other": "web"},
				want: everywhere("all of one from n1 n2 n3", "other from n1 n2 n3 with 65010:1"),
			},
			{
				name: "the aggregate alone", ads: map[string]string{"aggregate": "ipAddressPools: [one], aggregationLength: 24, aggregationLengthV6: 120"},
				want: everywhere("all of one from n1 n2 n3"),
			},
		}},
		{"overlapping", pair, []routeStep{
			{
				name: "one for all", ads: map[string]string{
					"all":  "ipAddressPools: [one], communities: ['65010:1']",
					"some": "ipAddressPools: [one], communities: ['65010:2'], " + app,
				},
				want: everywhere("other from n1 n2 n3 with 65010:1", "web from n1 n2 n3 with 65010:1 65010:2"),
			},
		}},
		{"disjoint", pair, []routeStep{
			{
				name: "each its own", ads: map[string]string{
					"first":  "ipAddressPools: [one], communities: ['65010:1'], " + app,
					"second": "ipAddressPools: [one], communities: ['65010:2'], serviceSelectors: [{matchLabels: {app: other}}]",
				},
				want: everywhere("other from n1 n2 n3 with 65010:2", "web from n1 n2 n3 with 65010:1"),
			},
		}},
	}, oneFamily)
}
