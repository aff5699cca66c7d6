// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

const quickStart = `address-pools: [{name: default, protocol: layer2, addresses: [192.168.1.240-192.168.1.250]}]` + "\n"

// runIn carries out a command line in a directory with the files of a txtar
// archive.
func runIn(t *testing.T, archive, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	dir := t.TempDir()
	for _, f := range txtar.Parse([]byte(archive)).Files {
		if err := os.WriteFile(filepath.Join(dir, f.Name), f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	return runHere(t, stdin, args...)
}

// runHere carries out a command line in the working directory.
func runHere(t testing.TB, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), ownName, args, strings.NewReader(stdin), &out, &errs)
	return code, out.String(), errs.String()
}

func TestCheck(t *testing.T) {
	const files = `
-- good.yaml --
peers:
- my-asn: 64600
  peer-asn: 64700
  peer-address: 10.10.0.254
  password: correct-horse
  bfd-profile: quick
  node-selectors: [{match-labels: {rack: a}}]
bfd-profiles: [{name: quick}, {name: quiet}]
address-pools:
- {name: lan, protocol: layer2, addresses: [192.168.1.0/24, 192.168.2.1-192.168.2.10], avoid-buggy-ips: true}
- name: wan
  protocol: bgp
  auto-assign: false
  addresses: [198.51.100.0/28, "2001:db8::/64"]
  bgp-advertisements: [{localpref: 100, communities: [no-export]}, {aggregation-length: 28, aggregation-length-v6: 64}]
-- quick.yaml --
address-pools: [{name: default, protocol: layer2, addresses: [192.168.1.240-192.168.1.250]}]
-- bad.yaml --
apiVersion: v1
kind: ConfigMap
metadata: {name: config, namespace: metallb-system}
data:
  config: |
    peers:
    - {my-asn: 64600, peer-address: 10.10.0.254}
    address-pools:
    - {name: lan, protocol: layer2, addresses: [192.168.1.1]}
-- broken.yaml --
peers: [
`
	const quickSummary = `quick.yaml: valid, with 1 pool, 0 peers and 1 advertisement
  pool    default  11 IPv4  192.168.1.240-192.168.1.250
  layer2  default  default
`
	tests := []struct {
		name   string
		args   []string
		stdin  string
		code   int
		stdout string
		stderr string
	}{
		{
			name: "summary",
			args: []string{"check", "-f", "good.yaml"},
			stdout: `good.yaml: valid, with 2 pools, 1 peer and 3 advertisements
  pool    lan    266 IPv4                            192.168.1.0/24, 192.168.2.1-192.168.2.10, without .0 and .255
  pool    wan    16 IPv4, 18446744073709551616 IPv6  198.51.100.0/28, 2001:db8::/64, on request alone
  peer    peer1  10.10.0.254                         AS 64700 from AS 64600, routes of both families, BFD profile quick, with a password, on nodes of 1 selector
  bgp     wan-1  wan                                 routes of /32 and /128, localpref 100, 65535:65281
  bgp     wan-2  wan                                 routes of /28 and /64
  layer2  lan    lan
`,
			stderr: "good.yaml: warning: bfd profile \"quiet\": used by no peer\n",
		},
		{
			name:   "standard input",
			args:   []string{"check", "-f", "-"},
			stdin:  quickStart,
			stdout: strings.Replace(quickSummary, "quick.yaml", "-", 1),
		},
		{
			name:   "an empty file",
			args:   []string{"check", "-f", "-"},
			stdin:  "---\n# soon\n",
			code:   1,
			stderr: "-:1: holds no object; a configuration without pools is written address-pools: []\n",
		},
		{
			name:   "an empty ConfigMap",
			args:   []string{"check", "-f", "-"},
			stdin:  "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: config, namespace: metallb-system}\ndata:\n  config: |\n    # soon\n",
			code:   1,
			stderr: "-:6: the configuration is empty; one without pools is written address-pools: []\n",
		},
		{
			name:   "no pools, on purpose",
			args:   []string{"check", "-f", "-"},
			stdin:  "address-pools: []\n",
			stdout: "-: valid, with 0 pools, 0 peers and 0 advertisements\n",
		},
		{
			name: "mistakes",
			args: []string{"check", "-f", "bad.yaml"},
			code: 1,
			stderr: `bad.yaml:7: peers[0].peer-asn: missing peer ASN
bad.yaml:9: address-pools[0].addresses[0]: invalid CIDR "192.168.1.1": a single address is written 192.168.1.1/32
`,
		},
		{
			name:   "several files",
			args:   []string{"check", "-f", "bad.yaml", "-f", "quick.yaml", "broken.yaml"},
			code:   1,
			stdout: quickSummary,
			stderr: `bad.yaml:7: peers[0].peer-asn: missing peer ASN
bad.yaml:9: address-pools[0].addresses[0]: invalid CIDR "192.168.1.1": a single address is written 192.168.1.1/32
broken.yaml:1: invalid YAML: did not find expected node content
`,
		},
		{
			name:   "no such file",
			args:   []string{"check", "-f", "none.yaml", "-f", "quick.yaml"},
			code:   2,
			stdout: quickSummary,
			stderr: "heraldctl: open none.yaml: no such file or directory\n",
		},
		{
			name:   "no file",
			args:   []string{"check"},
			code:   2,
			stderr: "heraldctl: nothing to check: name files or folders, - for standard input, or give --cluster\n",
		},
		{
			name:   "unknown flag",
			args:   []string{"check", "--file", "quick.yaml"},
			code:   2,
			stderr: "heraldctl: unknown flag: --file\n",
		},
		{
			name:   "unknown command",
			args:   []string{"chek"},
			code:   2,
			stderr: "heraldctl: unknown command \"chek\" for \"heraldctl\"\n\nDid you mean this?\n\tcheck\n\n",
		},
		{
			name:   "another program's command",
			args:   []string{"neighbors"},
			code:   2,
			stderr: "heraldctl: unknown command \"neighbors\" for \"heraldctl\"\n\nDid you mean this?\n\tsessions\n\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, stdout, stderr := runIn(t, files, tt.stdin, tt.args...)
			if code != tt.code {
				t.Errorf("exit code: want %d, got %d", tt.code, code)
			}
			if diff := cmp.Diff(tt.stdout, stdout); diff != "" {
				t.Errorf("stdout (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.stderr, stderr); diff != "" {
				t.Errorf("stderr (-want +got):\n%s", diff)
			}
		})
	}
}

func TestUnreadableInput(t *testing.T) {
	var out, errs bytes.Buffer
	code := run(t.Context(), ownName, []string{"check", "-f", "-"}, iotest.ErrReader(errors.New("gone")), &out, &errs)
	if want := "heraldctl: read standard input: gone\n"; code != exitMisuse || errs.String() != want {
		t.Errorf("want %q, got code %d and %q", want, code, errs.String())
	}
}

func TestVersion(t *testing.T) {
	code, stdout, stderr := runIn(t, "", "", "version")
	if code != exitOK || stderr != "" || !regexp.MustCompile(`^heraldctl \S+ go\S+ \w+/\w+\n$`).MatchString(stdout) {
		t.Errorf("got code %d, %q and %q", code, stdout, stderr)
	}
	if code, flag, stderr := runIn(t, "", "", "--version"); code != exitOK || flag != stdout || stderr != "" {
		t.Errorf("--version: got code %d, %q and %q, want %q", code, flag, stderr, stdout)
	}
	if code, _, stderr := runIn(t, "", "", "version", "now"); code != exitMisuse {
		t.Errorf("an argument: want code %d, got %d and %q", exitMisuse, code, stderr)
	}
}
