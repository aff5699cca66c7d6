// SPDX-License-Identifier: Apache-2.0

package sysdump

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A text that nobody can decode is searched for the words before secrets.
func TestRedactText(t *testing.T) {
	var r redactor
	for text, want := range map[string]string{
		"neighbor 10.0.0.1 password s3 cr3t":                                     "neighbor 10.0.0.1 password [redacted]",
		"line 3: neighbor 10.0.0.1 password s3cr3t\nnext":                        "line 3: neighbor 10.0.0.1 password [redacted]\nnext",
		"  key-string s3cr3t":                                                    "  key-string [redacted]",
		"ip ospf message-digest-key 1 md5 s3cr3t":                                "ip ospf message-digest-key 1 md5 [redacted]",
		`level=info password=s3cr3t peer=tor`:                                    `level=info password=[redacted] peer=tor`,
		`level=info password="s3 cr3t" peer=tor`:                                 `level=info password="[redacted]" peer=tor`,
		`{"level":"info","password":"s3 cr3t","peer":"tor"}`:                     `{"level":"info","password":"[redacted]","peer":"tor"}`,
		`msg="got {\"password\":\"s3 cr3t\",\"peer\":\"tor\"}"`:                  `msg="got {\"password\":\"[redacted]\",\"peer\":\"tor\"}"`,
		`peers: [{password: s3 cr3t, my-asn: 1}]`:                                `peers: [{password: [redacted], my-asn: 1}]`,
		"- password: s3, cr3t":                                                   "- password: [redacted]",
		"--api-token=s3cr3t --port=1":                                            "--api-token=[redacted] --port=1",
		"https://bob:s3cr3t@proxy:3128/x":                                        "https://[redacted]@proxy:3128/x",
		"Authorization: Bearer s3cr3t.s3cr3t":                                    "Authorization: Bearer [redacted]",
		"-----BEGIN RSA PRIVATE KEY-----\ns3cr3t\n-----END RSA PRIVATE KEY-----": "-----BEGIN RSA PRIVATE KEY-----[redacted]-----END RSA PRIVATE KEY-----",
		"spec.passwordSecret: Secret tor does not exist":                         "spec.passwordSecret: Secret tor does not exist",
		"the session with tor is down: set the same password on both sides":      "the session with tor is down: set the same password on both sides",
		"--ml-secret-name=memberlist":                                            "--ml-secret-name=memberlist",
		"password=[redacted]":                                                    "password=[redacted]",
	} {
		if got := r.text(text, own); got != want {
			t.Errorf("%s\nwant %s\n got %s", text, want, got)
		}
	}
	if got, want := r.text("password s3 cr3t", foreign), "password [redacted]"; got != want {
		t.Errorf("of others: %q, want %q", got, want)
	}
}

// MetalLB's ConfigMap can be written in many ways. In none of them a password stays, and what is
// no password does.
func TestRedactYAML(t *testing.T) {
	for name, text := range map[string]string{
		"plain":          "peers:\n- peer-address: 10.0.0.1\n  password: s3cr3t\n  my-asn: 64512\n",
		"quoted":         "peers:\n- peer-address: 10.0.0.1\n  \"password\": \"s3cr3t\"\n",
		"escaped":        "peers:\n- peer-address: 10.0.0.1\n  password: \"s3\\x63r3t\"\n",
		"flow":           "peers: [{peer-address: 10.0.0.1, password: s3cr3t, my-asn: 1}]\n",
		"block":          "peers:\n- peer-address: 10.0.0.1\n  password: |-\n    s3cr3t\n",
		"folded":         "peers:\n- peer-address: 10.0.0.1\n  password: >-\n    s3cr3t\n    s3cr3t\n",
		"two lines":      "peers:\n- peer-address: 10.0.0.1\n  password: s3cr3t\n    or s3cr3t\n",
		"anchor":         "x: &p s3cr3t\npeers:\n- peer-address: 10.0.0.1\n  password: *p\n",
		"comment":        "peers:\n- peer-address: 10.0.0.1\n  # password: s3cr3t\n  password: s3cr3t # s3cr3t\n",
		"explicit key":   "peers:\n- peer-address: 10.0.0.1\n  ? password\n  : s3cr3t\n",
		"two documents":  "a: 10.0.0.1\n---\npassword: s3cr3t\n",
		"no YAML":        "peers:\n- peer-address: 10.0.0.1\n  password: s3cr3t\n bad: [\n",
		"no YAML, block": "peers:\n- peer-address: 10.0.0.1\n  password: |\n    s3cr3t\n  x: [\n",
	} {
		var r redactor
		got := r.nested(text)
		if strings.Contains(got, "s3cr3t") || strings.Contains(got, `s3\x63r3t`) || !strings.Contains(got, "10.0.0.1") || !strings.Contains(got, "redacted") {
			t.Errorf("%s:\n%s", name, got)
		}
	}
	var r redactor
	const text = "address-pools:\n- name: a # of the shop\n  addresses: [192.0.2.0/24]\npeers:\n- {peer-address: 10.0.0.1, password: s3cr3t}\n"
	if diff := cmp.Diff(strings.Replace(text, "s3cr3t", redacted, 1), r.nested(text)); diff != "" {
		t.Errorf("the rest changes (-want +got):\n%s", diff)
	}
}

// What is known of one object is hidden in all texts, in each form that it may have there.
func TestRedactKnown(t *testing.T) {
	r := redactor{learning: true}
	r.value("", map[string]any{
		"spec": map[string]any{"password": `s3"c&r3t`, "passwordSecret": map[string]any{"name": "tor"}, "port": json.Number("179")},
		"env":  []any{map[string]any{"name": "DB_PASSWORD", "value": "ab1"}},
	})
	r.learning = false
	r.known.settle()
	for text, want := range map[string]string{
		`the word s3"c&r3t stands alone`:        "the word [redacted] stands alone",
		`json: "s3\"c&r3t", "s3\"c\u0026r3t"`:   `json: "[redacted]", "[redacted]"`,
		"base64: czMiYyZyM3Q= and czMiYyZyM3QK": "base64: [redacted] and [redacted]",
		"url: s3%22c%26r3t":                     "url: [redacted]",
		"short: ab1, xab1, ab1x, (ab1)":         "short: [redacted], xab1, ab1x, ([redacted])",
		"tor 179":                               "tor 179",
	} {
		if got := r.text(text, own); got != want {
			t.Errorf("%s\nwant %s\n got %s", text, want, got)
		}
	}
}

// What is not a secret stays as it is.
func TestRedactValue(t *testing.T) {
	const object = `{
  "apiVersion": "v1",
  "metadata": {"annotations": {"example.com/password": "s3cr3t", "kubectl.kubernetes.io/last-applied-configuration": "{\"spec\":{\"password\":\"s3cr3t\",\"peerASN\":64512}}\n"}},
  "spec": {
    "automountServiceAccountToken": false,
    "imagePullSecrets": [{"name": "pull"}],
    "containers": [{
      "args": ["--token", "s3cr3t", "--port=7472", "--password=s3cr3t"],
      "env": [{"name": "METALLB_HOST", "value": "10.0.0.1"}, {"name": "PROXY", "value": "s3cr3t"}, {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}}],
      "ports": [{"name": "metrics", "containerPort": 7472}]
    }],
    "volumes": [{"name": "m", "secret": {"secretName": "memberlist"}}]
  }
}`
	const want = `{
  "apiVersion": "v1",
  "metadata": {"annotations": {"example.com/password": "[redacted]", "kubectl.kubernetes.io/last-applied-configuration": "{\"spec\":{\"password\":\"[redacted]\",\"peerASN\":64512}}"}},
  "spec": {
    "automountServiceAccountToken": false,
    "imagePullSecrets": [{"name": "pull"}],
    "containers": [{
      "args": ["--token", "[redacted]", "--port=7472", "--password=[redacted]"],
      "env": [{"name": "METALLB_HOST", "value": "10.0.0.1"}, {"name": "PROXY", "value": "[redacted]"}, {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}}],
      "ports": [{"name": "metrics", "containerPort": 7472}]
    }],
    "volumes": [{"name": "m", "secret": {"secretName": "memberlist"}}]
  }
}`
	var in, out any
	if err := json.Unmarshal([]byte(object), &in); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(want), &out); err != nil {
		t.Fatal(err)
	}
	var r redactor
	if diff := cmp.Diff(out, r.value("", in)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
