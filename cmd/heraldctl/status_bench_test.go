// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/heraldlb/herald/status"
)

// BenchmarkStatus runs status and why with 5,000 Services on three nodes, from the requests
// to the output. Agents answer.
func BenchmarkStatus(b *testing.B) {
	base, err := os.ReadFile("testdata/mistakes/base.yaml")
	if err != nil {
		b.Fatal(err)
	}
	c := &fakeCluster{t: b, objects: map[string]map[string]any{}, reports: map[string]string{}, encoded: map[string][]byte{}}
	c.add(base)
	pool := c.objects["IPAddressPool/metallb-system/web"]
	pool["spec"] = map[string]any{"addresses": []string{"10.32.0.0/12"}}
	for _, id := range []string{"Service/shop/web", "EndpointSlice/shop/web-1", "ServiceBGPStatus/metallb-system/bgp-1", "ServiceBGPStatus/metallb-system/bgp-2", "ServiceBGPStatus/metallb-system/bgp-3"} {
		c.delete(id)
	}
	type o = map[string]any
	reports := map[string]*status.Report{}
	for n := 1; n <= 3; n++ {
		r := &status.Report{}
		if err := json.Unmarshal([]byte(`{"component": "herald-agent", "version": "v1", "synced": true, "config": {"loaded": true},
 "peers": [{"name": "tor", "address": "10.0.0.1", "asn": 64513, "wanted": true, "reason": "Configured", "session": {"state": "Established"}}]}`), r); err != nil {
			b.Fatal(err)
		}
		reports[fmt.Sprintf("n%d", n)] = r
	}
	for i := range 5000 {
		name, ip := fmt.Sprintf("service-%05d", i), fmt.Sprintf("10.32.%d.%d", i>>8, i&255)
		for _, object := range []o{
			{"kind": "Service", "metadata": o{"namespace": "shop", "name": name, "uid": name, "annotations": o{"metallb.io/ip-allocated-from-pool": "web"}},
				"spec":   o{"type": "LoadBalancer", "clusterIPs": []string{"10.96.0.1"}, "ports": []o{{"port": 80}}},
				"status": o{"loadBalancer": o{"ingress": []o{{"ip": ip}}}, "conditions": []o{{"type": "heraldlb.io/AddressAssigned", "status": "True", "reason": "Assigned", "message": ip + " from pool web"}}}},
			{"kind": "EndpointSlice", "metadata": o{"namespace": "shop", "name": name, "labels": o{"kubernetes.io/service-name": name}}, "addressType": "IPv4",
				"endpoints": []o{{"addresses": []string{"10.244.1.2"}, "nodeName": "n1", "conditions": o{"ready": true}}}},
		} {
			c.objects[idOf(object)] = object
		}
		for node, r := range reports {
			object := o{"kind": "ServiceBGPStatus", "metadata": o{"namespace": "metallb-system", "name": "bgp-" + node + name},
				"status": o{"node": node, "serviceName": name, "serviceNamespace": "shop", "peers": []string{"tor"}}}
			c.objects[idOf(object)] = object
			var d status.Decision
			if err := json.Unmarshal(fmt.Appendf(nil, `{"service": "shop/%s", "addr": %q, "pool": "web", "protocol": "bgp", "announce": true, "confirmed": true,
 "reason": "Announced", "routes": ["%s/32"], "peers": ["tor"], "sent": ["tor"]}`, name, ip, ip), &d); err != nil {
				b.Fatal(err)
			}
			r.Decisions = append(r.Decisions, d)
		}
	}
	for node, r := range reports {
		text, err := json.Marshal(r)
		if err != nil {
			b.Fatal(err)
		}
		c.reports[node] = string(text)
	}
	c.serve()
	for _, args := range [][]string{{"status"}, {"why", "shop/service-02500"}} {
		b.Run(args[0], func(b *testing.B) {
			before := processorTime(b)
			for b.Loop() {
				if code, stdout, stderr := runHere(b, "", args...); code != exitOK {
					b.Fatal(code, stdout, stderr)
				}
			}
			b.ReportMetric(float64(processorTime(b)-before)/float64(b.N)/1e6, "cpu-ms/op")
		})
	}
}

// processorTime returns how long this process has run on processors, with its API server and
// agents: on a busy machine it says more than the time that passes.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
