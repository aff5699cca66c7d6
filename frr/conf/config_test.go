// SPDX-License-Identifier: Apache-2.0

package conf_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/frr/conf"
)

func TestParse(t *testing.T) {
	tests := []struct {
		name string
		text string
		want string
	}{
		{"empty", "", ""},
		{"noise only", "Building configuration...\n\nCurrent configuration:\n!\n# x\nend\n", ""},
		{"no newline at the end", "hostname n1", "hostname n1\n"},
		{"ends and comments", "bfd\n profile a\n  passive-mode\n exit\n !\nexit\n!\nend\n", "bfd\n profile a\n  passive-mode\n"},
		{"blanks", "hostname \t n1  \r\n", "hostname n1\n"},
		{
			"a context that appears twice",
			"router bgp 1\n address-family ipv4 unicast\n  network 192.0.2.1/32\nroute-map herald-a permit 1\nrouter bgp 1\n address-family ipv4 unicast\n  network 192.0.2.2/32\n",
			"router bgp 1\n address-family ipv4 unicast\n  network 192.0.2.1/32\n  network 192.0.2.2/32\nroute-map herald-a permit 1\n",
		},
		{"any indentation", "router bgp 1\n    no bgp default ipv4-unicast\n", "router bgp 1\n no bgp default ipv4-unicast\n"},
		{"default of a profile", "bfd\n profile a\n  receive-interval 300\n", "bfd\n profile a\n"},
		{
			"keepalive above a third of the hold time",
			"router bgp 1\n timers bgp 5 9\n neighbor 192.0.2.1 timers 11 30\n neighbor 192.0.2.1 timers 10 30\n neighbor 192.0.2.1 timers connect 5\n",
			"router bgp 1\n timers bgp 3 9\n neighbor 192.0.2.1 timers 10 30\n neighbor 192.0.2.1 timers 10 30\n neighbor 192.0.2.1 timers connect 5\n",
		},
		{"hops", "router bgp 1\n neighbor 192.0.2.1 ebgp-multihop\n", "router bgp 1\n neighbor 192.0.2.1 ebgp-multihop 255\n"},
		{
			"communities",
			"route-map a permit 1\n set community no-export 65010:7 65010:1 additive\n set large-community 2:1:1 1:1:1\n",
			"route-map a permit 1\n set community 65010:1 65010:7 65535:65281 additive\n set large-community 2:1:1 1:1:1\n",
		},
		{"no community", "route-map a permit 1\n set community none\n", "route-map a permit 1\n set community none\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, conf.Parse(tt.text).String()); diff != "" {
				t.Errorf("Parse(%q) (-want +got):\n%s", tt.text, diff)
			}
		})
	}
}

func TestParseNumbersLines(t *testing.T) {
	c := conf.Parse("!\nhostname n1\n\nbfd\n profile a\n  passive-mode\n")
	if got := c.Sections[0].No; got != 2 {
		t.Errorf("hostname is on line %d, want 2", got)
	}
	if got := c.Sections[1].Sub[0].Sub[0].No; got != 6 {
		t.Errorf("passive-mode is on line %d, want 6", got)
	}
}

func TestFor(t *testing.T) {
	whole := conf.Parse(`frr defaults traditional
hostname n1
log syslog informational
ip nht resolve-via-default
debug bgp keepalives
bgp community-list standard herald-x permit 65010:1
route-map herald-in deny 10
router bgp 64512
bfd
 profile fast
`)
	for daemon, want := range map[string]string{
		"zebra": "hostname n1\nlog syslog informational\nip nht resolve-via-default\n",
		"bfdd":  "hostname n1\nlog syslog informational\nbfd\n profile fast\n",
		"bgpd": "hostname n1\nlog syslog informational\ndebug bgp keepalives\n" +
			"bgp community-list standard herald-x permit 65010:1\nroute-map herald-in deny 10\nrouter bgp 64512\n",
	} {
		if diff := cmp.Diff(want, whole.For(daemon).String()); diff != "" {
			t.Errorf("For(%s) (-want +got):\n%s", daemon, diff)
		}
	}
}

// versions are the versions of FRR that testdata has recordings of.
var versions = []string{"frr-8.4.4", "frr-10.3"}

// TestDiffFromRecorded compares the recorded configuration of each version of FRR with
// itself: once as FRR prints it and once as a wanted text.
func TestDiffFromRecorded(t *testing.T) {
	for _, v := range versions {
		for _, daemon := range conf.Daemons {
			text, err := os.ReadFile(filepath.Join("testdata", v, daemon+".conf"))
			if err != nil {
				t.Fatal(err)
			}
			running := conf.Parse(string(text))
			wanted := conf.Parse(running.String()).For(daemon)
			if commands := conf.Diff(running, wanted); len(commands) > 0 {
				t.Errorf("%s, %s: not the same: %v", v, daemon, commands)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, v := range versions {
		for _, daemon := range conf.Daemons {
			text, err := os.ReadFile(filepath.Join("testdata", v, daemon+".conf"))
			if err != nil {
				f.Fatal(err)
			}
			f.Add(string(text))
		}
	}
	f.Add("router bgp 1\n  a\n b\n   c\nrouter bgp 1\n a\n")
	f.Add("bfd\n profile a\n  echo-interval 60\n  echo-interval 50\n")
	f.Add("route-map a permit 1\n set tag 1\nroute-map a deny 1\n")
	f.Add("route-map a permit 1\n set community no-export 1:1\n set community x\n")
	f.Add("ip nht resolve-via-default\n a\nip prefix-list herald-a seq 5 permit any\n a\nbgp route-map delay-timer 0\n a\n")
	f.Fuzz(func(t *testing.T, text string) {
		once := conf.Parse(text)
		again := conf.Parse(once.String())
		if diff := cmp.Diff(once.String(), again.String()); diff != "" {
			t.Fatalf("parsed, printed and parsed (-once +again):\n%s", diff)
		}
		if commands := conf.Diff(once, again); len(commands) > 0 {
			t.Fatalf("differs from itself: %v", commands)
		}
	})
}
