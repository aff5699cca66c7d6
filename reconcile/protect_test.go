// SPDX-License-Identifier: Apache-2.0

package reconcile_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/reconcile"
	"github.com/heraldlb/herald/source"
)

// An edit of the ConfigMap leaves those pools as they were that would take something
// from Services, also for a process that starts later.
func TestLoadedProtected(t *testing.T) {
	const (
		one   = "address-pools:\n- {name: one, protocol: bgp, addresses: [192.0.2.0/28]}\n- {name: two, protocol: bgp, addresses: [198.51.100.0/28]}\n"
		moved = "peers: [{my-asn: 64512, peer-asn: 64513, peer-address: 10.0.0.1}]\naddress-pools:\n- {name: one, protocol: bgp, addresses: [203.0.113.0/28]}\n- {name: three, protocol: bgp, addresses: [203.0.113.128/28]}\n"
		clash = "address-pools:\n- {name: three, protocol: bgp, addresses: [192.0.2.8/29]}\n"
		merge = "address-pools:\n- {name: all, protocol: bgp, addresses: [192.0.2.0/24]}\n"
	)
	web := []config.Use{{Addr: netip.MustParseAddr("192.0.2.7"), Service: "shop/web"}}
	none := []config.Use{}
	steps := []struct {
		name    string
		version string
		text    string
		release string
		uses    []config.Use
		want    string // pools in force
		err     string // contained; empty: all is in force
		peers   int
	}{
		{"at first", "1", one, "", web, "one[192.0.2.0/28] two[198.51.100.0/28]", "", 0},
		{"a pool moves, the other goes", "2", moved, "", web, "one[192.0.2.0/28] three[203.0.113.128/28]",
			"configmap x: its pools one stay as they were: the edit would take 192.0.2.7 of shop/web; if that is meant, annotate it with heraldlb.io/release-addresses=192.0.2.7", 1},
		{"still", "2", moved, "", web, "one[192.0.2.0/28] three[203.0.113.128/28]", "its pools one stay", 1},
		{"something else is released", "3", moved, "192.0.2.8/29", web, "one[192.0.2.0/28] three[203.0.113.128/28]", "its pools one stay", 1},
		{"the annotation makes no sense", "4", moved, "one", web, "one[192.0.2.0/28] three[203.0.113.128/28]", `metadata.annotations[heraldlb.io/release-addresses]: invalid CIDR "one"`, 1},
		{"broken", "5", "address-pools: [", "", web, "one[192.0.2.0/28] three[203.0.113.128/28]", "invalid YAML", 1},
		{"back to the first", "6", one, "", web, "one[192.0.2.0/28] two[198.51.100.0/28]", "", 0},
		{"all pools go", "7", "address-pools: []", "", web, "one[192.0.2.0/28]", "its pools one stay", 0},
		{"one that overlaps comes", "8", clash, "", web, "one[192.0.2.0/28]", "its pools one stay", 0},
		{"one that has it comes", "9", merge, "", web, "all[192.0.2.0/24]", "", 0},
		{"back", "10", one, "", web, "one[192.0.2.0/28] two[198.51.100.0/28]", "", 0},
		{"it moves again", "11", moved, "", web, "one[192.0.2.0/28] three[203.0.113.128/28]", "its pools one stay", 1},
		{"it is released", "12", moved, "192.0.2.7", web, "one[203.0.113.0/28] three[203.0.113.128/28]", "", 1},
		{"back once more", "13", one, "", web, "one[192.0.2.0/28] two[198.51.100.0/28]", "", 0},
		{"it moves", "14", moved, "", web, "one[192.0.2.0/28] three[203.0.113.128/28]", "its pools one stay", 1},
		{"the Service goes", "14", moved, "", none, "one[203.0.113.0/28] three[203.0.113.128/28]", "", 1},
	}
	pools := func(l source.Loaded) string {
		if l.Config == nil {
			return ""
		}
		var out []string
		for _, p := range l.Config.Pools {
			out = append(out, fmt.Sprint(p.Name, p.Addresses))
		}
		return strings.Join(out, " ")
	}
	var l source.Loaded
	var recorded source.Recorded
	for _, step := range steps {
		d := source.Document{
			Source: "configmap x", Version: step.version, Text: []byte(step.text), Release: step.release,
			Protection: &config.Protection{InUse: step.uses, Judge: true},
		}
		check := func(who string, l source.Loaded) {
			t.Helper()
			if got := pools(l); got != step.want {
				t.Errorf("%s: %s has %q in force, want %q", step.name, who, got, step.want)
			}
			if step.err == "" && l.Err != nil || step.err != "" && (l.Err == nil || !strings.Contains(l.Err.Error(), step.err)) {
				t.Errorf("%s: %s: the reason is %v, want %q", step.name, who, l.Err, step.err)
			}
			if n := len(l.Config.Peers); n != step.peers {
				t.Errorf("%s: %s has %d peers, want %d", step.name, who, n, step.peers)
			}
		}
		before := l
		l = l.Next(d)
		check("who saw it", l)
		if again := l.Next(d); again.Config != l.Config {
			t.Errorf("%s: the same document makes another Config", step.name)
		}
		if step.name == "broken" {
			continue // nothing is in force for one that starts
		}
		// With what the leader had recorded before, and with what it records now.
		d.Recorded = recorded
		check("who starts before the leader says so", source.Loaded{}.Next(d))
		recorded = source.Recorded{Pools: l.Pools}
		if l.Withheld {
			recorded.Withheld = step.version
		}
		d.Recorded = recorded
		check("who starts", source.Loaded{}.Next(d))
		// Who has not seen the Service yet believes the edit, and then follows.
		unseen := d
		unseen.Protection, unseen.Recorded = &config.Protection{}, source.Recorded{}
		check("who follows", before.Next(unseen).Next(d))
	}
}

// The loops go by the Services' statuses: an edit is held back while they have what
// it takes away, and is in force once they have not.
func TestControllerProtect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		worker := reconcile.NewWorker()
		w := &scene{wake: worker.Wake}
		c := reconcile.NewController(reconcile.ControllerOptions{
			Worker: worker, Cluster: w, Documents: w, Writer: writer{w}, Reporter: reporter{w},
			ConfigEvents: w.configEvent, Logger: verifierLog(t), Verify: true,
			Protect: &source.ProtectOptions{Recorded: func() (source.Recorded, bool) { return source.Recorded{}, true }},
		})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- c.Lead(ctx) }()
		w.change(func() { w.snapshot.Services = services("a=198.51.100.1"); w.synced = true })
		w.write(goodConfig)
		w.write("address-pools: [{name: other, protocol: bgp, addresses: [203.0.113.0/28]}]")
		for _, u := range ingresses(w.updates) {
			if u != "a=198.51.100.1" {
				t.Errorf("the edit took what is in use: %s", u)
			}
		}
		if got := w.report.Config.Error; !strings.Contains(got, "198.51.100.1 of") {
			t.Errorf("the report says %q of an edit that is held back", got)
		}
		w.change(func() { w.snapshot.Services = nil })
		if got := w.report.Config.Error; got != "" {
			t.Errorf("nobody uses it, and the report says %q", got)
		}
		w.change(func() { w.snapshot.Services = services("b") })
		if got := fmt.Sprint(ingresses(w.updates)); got != "[b=203.0.113.0]" {
			t.Errorf("the edit is not in force: %s", got)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
