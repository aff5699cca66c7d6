// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/status"
)

// hostile clears a screen, sets its title, moves the cursor with a C1 control, reverses
// the direction of text, and begins another row.
const hostile = "x\x1b[2J\x1b]0;owned\x07\u009b1A\u202eevil\x7f\r\U000e0041\nn9\tforged\u2028"

// obeys returns the characters of a text that a terminal obeys or that do not show.
func obeys(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && hidden(r) {
			return r
		}
		return -1
	}, text)
}

func TestScreen(t *testing.T) {
	for text, want := range map[string]string{
		"plain, of ünïcode 表\n\tand lines\n": "plain, of ünïcode 表\n\tand lines\n",
		"a\x1b[31mb\r\n":                     `a\u001b[31mb\u000d` + "\n",
		"\x00\x7f\u0085\u009b":               `\u0000\u007f\u0085\u009b`,
		"\u202eabc\u2066\ufeff\u2028":        `\u202eabc\u2066\ufeff\u2028`,
		"\U000e0041":                         `\udb40\udc41`,
		"a\xffb\xc3":                         `a\xffb\xc3`,
		"\ufffd":                             "\ufffd",
	} {
		var b bytes.Buffer
		if n, err := io.WriteString(screen{&b}, text); err != nil || n != len(text) || b.String() != want {
			t.Errorf("%q is %q, %d, %v, want %q", text, b.String(), n, err, want)
		}
	}
	// JSON stays the same.
	var b bytes.Buffer
	var got string
	if err := writeJSON(screen{&b}, hostile); err != nil || obeys(b.String()) != "" {
		t.Errorf("%v, %q", err, b.String())
	}
	if err := json.Unmarshal(b.Bytes(), &got); err != nil || got != hostile {
		t.Errorf("JSON is %q, %v", got, err)
	}
}

// What an agent reports, and through it a router, is in the cell that it belongs to.
func TestScreenTables(t *testing.T) {
	var b bytes.Buffer
	peer := status.Peer{
		Name: hostile, Interface: hostile, VRF: hostile, DynamicASN: hostile, Wanted: true,
		Session: status.Session{State: hostile, BFD: hostile, LastError: hostile, Diagnosis: hostile},
	}
	if err := (sessionsJob{output: output{format: viewTable}}).print(screen{&b}, []nodePeer{{Node: hostile, Peer: peer}}, time.Now()); err != nil {
		t.Fatal(err)
	}
	printDrainage(screen{&b}, "n1", []status.Decision{{Service: hostile, Protocol: hostile, Announce: true}},
		announce.DrainProgress{Left: []status.Decision{{Service: hostile, Addr: netip.MustParseAddr("192.0.2.1"), Detail: hostile}}}, cluster.Drain{})
	if n := strings.Count(b.String(), "\n"); n != 5 || strings.Contains(b.String(), "\t") || obeys(b.String()) != "" {
		t.Errorf("%d lines: %q", n, b.String())
	}
}

// No command passes on what a terminal obeys, whichever text of a file it repeats.
func TestScreenCommands(t *testing.T) {
	quoted, err := json.Marshal(hostile)
	if err != nil {
		t.Fatal(err)
	}
	x := visible(strings.ReplaceAll(string(quoted), "\U000e0041", ""), "") // YAML has no pairs of surrogates
	folder := t.TempDir()
	t.Chdir(folder)
	name := "a\x1b[2J\u202e.yaml"
	for file, text := range map[string]string{
		name:             "address-pools: [{name: " + x + ", protocol: " + x + ", addresses: [" + x + "]}]\n" + x + ": 1\n",
		"resources.yaml": "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: " + x + ", namespace: " + x + "}\nspec: {addresses: [" + x + "], " + x + ": 1}\n",
		"good.yaml":      quickStart,
		"objects.yaml": "apiVersion: v1\nkind: Node\nmetadata: {name: n1, labels: {" + x + ": " + x + "}}\n---\n" +
			"apiVersion: v1\nkind: Service\nmetadata: {name: " + x + ", namespace: " + x + ", annotations: {metallb.io/address-pool: " + x + ", metallb.io/loadBalancerIPs: " + x + "}}\n" +
			"spec: {type: LoadBalancer, clusterIP: 10.96.0.1, ports: [{port: 80}]}\n",
	} {
		if err := os.WriteFile(filepath.Join(folder, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{
		{"check", name}, {"check", name, "-o", "json"}, {"check", name, "-o", "github"},
		{"check", "resources.yaml"}, {"check", "resources.yaml", "-o", "json"}, {"check", "missing\x1b[2J"},
		{"convert", "-f", name},
		{"allocate", "-f", "good.yaml", "--services", "objects.yaml"}, {"allocate", "-f", "good.yaml", "--services", "objects.yaml", "-o", "json"},
		{"diff", "-f", "good.yaml", "--services", "objects.yaml"},
		{"render", "-f", "good.yaml", "--objects", "objects.yaml", "--node", "n1", "--decisions"},
		{"render", "-f", "good.yaml", "--objects", "objects.yaml", "--node", hostile},
		{hostile}, {"check", "--" + hostile}, {"drain", hostile, "--kubeconfig", hostile},
	} {
		_, stdout, stderr := runHere(t, "", args...)
		if out := stdout + stderr; out == "" || obeys(out) != "" {
			t.Errorf("%q prints %q", args, out)
		}
		if args[0] == "check" && len(args) == 2 && strings.Contains(stderr, "\nn9") && !strings.HasPrefix(args[1], "--") {
			t.Errorf("%q prints another line: %q", args, stderr)
		}
	}
}
