// SPDX-License-Identifier: Apache-2.0

package extras

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/heraldlb/herald/frr/conf"
	"github.com/heraldlb/herald/frr/contract"
)

// FuzzExtras applies a raw configuration, another one in its place, and that again after a
// daemon was started. What is in force is what FRR accepted last, and FRR is given that.
// What is shown has no secret of the text, whatever FRR's programs quote.
func FuzzExtras(f *testing.F) {
	const secret = "canary-5d41"
	f.Add("hostname n1\n", "router bgp 64512\n neighbor 192.0.2.1 description x\n", "hostname n1\nrouter bgp 64512\n neighbor 192.0.2.1 remote-as 1\n", "", false)
	f.Add("router bgp 1\n address-family ipv4 unicast\n  a\n b\n", " b\nexit\nend\n", "router bgp 1\n address-family ipv4 unicast\n  a\n  c\n", "% Unknown command: ", true)
	f.Add("", "", "hostname n1\n", "", false)
	f.Fuzz(func(t *testing.T, before, text, running, quote string, refused bool) {
		if strings.Contains(before+text+running+quote, "canary") {
			t.Skip()
		}
		text += "\nkey-string " + secret + "\n"
		r := newApplierRig(t)
		given, checks := "", ""
		r.host.say = func(line string) (string, error) {
			if path := line[strings.LastIndex(line, " ")+1:]; strings.Contains(path, ".extras-") {
				b, err := os.ReadFile(path)
				if err != nil {
					t.Error(err)
				}
				if strings.HasPrefix(line, "vtysh -C") {
					checks = string(b)
				} else {
					given = string(b)
				}
			}
			switch {
			case strings.Contains(line, "show running-config"):
				return running + "\nkey-string " + secret + "\n", nil
			case strings.HasPrefix(line, "vtysh -C") && refused && checks == text:
				return quote + secret + "\n", errors.New("exit status 2")
			}
			return "", nil
		}
		r.pass(before, false)
		_, result := r.pass(text, false)
		want := text
		if refused {
			want = before
		}
		if result.Applied == refused || result.Sum != contract.Sum([]byte(text)) {
			t.Errorf("refused %v: %+v", refused, result)
		}
		if got, err := contract.ReadExtrasApplied(r.etc); err != nil || string(got) != want {
			t.Errorf("in force is %q, %v, want %q", got, err, want)
		}
		given = ""
		_, again := r.pass(text, true)
		if given != want {
			t.Errorf("a daemon that was started is given %q, want %q", given, want)
		}
		if shown := result.Error + result.Remark + again.Error + again.Remark; strings.Contains(shown, secret) {
			t.Errorf("shown is %q", shown)
		}
		if left, _ := filepath.Glob(filepath.Join(r.run, ".*")); len(left) > 0 {
			t.Errorf("%v are left", left)
		}
		c := conf.Parse(running)
		if got := conf.Parse(closed(c)).String(); got != c.String() {
			t.Errorf("with the ends of contexts:\n%s\nwant:\n%s", got, c)
		}
	})
}
