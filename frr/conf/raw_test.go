// SPDX-License-Identifier: Apache-2.0

package conf_test

import (
	"strings"
	"testing"

	"github.com/heraldlb/herald/frr/conf"
)

func TestBrief(t *testing.T) {
	for line, want := range map[string]string{
		"hostname n1":                             "hostname n1",
		"  neighbor 10.0.0.1 description rack 7":  "neighbor 10.0.0.1 [redacted]",
		"no neighbor 10.0.0.1 description rack 7": "no neighbor 10.0.0.1 [redacted]",
		"key-string s3cret":                       "key-string [redacted]",
		"area-password clear s3cret":              "area-password [redacted]",
		"no key-string s3cret":                    "no key-string [redacted]",
		"ip ospf message-digest-key 1 md5 s3cret": "ip ospf [redacted]",
		"enable password s3cret":                  "enable password [redacted]",
		"":                                        "",
	} {
		if got := conf.Brief(line); got != want {
			t.Errorf("Brief(%q) is %q, want %q", line, got, want)
		}
	}
}

func TestMask(t *testing.T) {
	const text = "router bgp 64512\r\n neighbor 10.0.0.1 password s3 cr3t\r\n neighbor 10.0.0.1 passive\r\n!\r\nip ospf message-digest-key 1 md5 s3cr3t\nset community 64512:1"
	const want = "router bgp 64512\r\n neighbor 10.0.0.1 password [redacted]\r\n neighbor 10.0.0.1 passive\r\n!\r\nip ospf message-digest-key [redacted]\nset community [redacted]"
	if got := conf.Mask(text); got != want {
		t.Errorf("Mask is %q, want %q", got, want)
	}
}

func TestVeil(t *testing.T) {
	v := conf.NewVeil("key-string abc\nneighbor 10.0.0.1 description line 4 of rack-7\nip route 10.0.0.0/8 eth0\n")
	for text, want := range map[string]string{
		"line 4: % Unknown command[10]:  neighbor 10.0.0.1 description line 4 of rack-7\n": "line 4: % Unknown command[10]:  neighbor 10.0.0.1 [redacted]\n",
		"% Malformed 'abc', abcd":    "% Malformed [redacted] abcd",
		"('rack-7',)\n% Unknown x\n": "('[redacted]',)\n% Unknown x\n",
		"nothing of it":              "nothing [redacted] it",
	} {
		if got := v.Hide(text); got != want {
			t.Errorf("Hide(%q) is %q, want %q", text, got, want)
		}
	}
}

// However FRR quotes a secret, it is hidden.
func FuzzVeil(f *testing.F) {
	const secret = "canary-5d41"
	f.Add("neighbor 10.0.0.1 description x", "% Invalid: ", "!")
	f.Add("\xff\n", "line 4: ", " key-string")
	f.Fuzz(func(t *testing.T, raw, before, after string) {
		if strings.Contains(raw+before+after, "canary") {
			t.Skip()
		}
		text := conf.NewVeil(raw, "key-string "+secret+"\n").Hide(before + secret + after)
		if strings.Contains(text, secret) {
			t.Fatalf("Hide shows %q", text)
		}
	})
}
