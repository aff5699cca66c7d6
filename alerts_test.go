// SPDX-License-Identifier: Apache-2.0

package herald_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/heraldlb/herald/lab/need"
)

const alertsFile = "deploy/monitoring/alerts.yaml"

// A ruleFile is what Prometheus reads.
type ruleFile struct {
	Groups []struct {
		Name  string `json:"name"`
		Rules []rule `json:"rules"`
	} `json:"groups"`
}

type rule struct {
	Alert       string            `json:"alert,omitempty"`
	Expr        string            `json:"expr"`
	For         string            `json:"for,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

func readAlerts(t *testing.T) (f ruleFile, alerts []rule) {
	t.Helper()
	b, err := os.ReadFile(alertsFile)
	if err == nil {
		err = yaml.UnmarshalStrict(b, &f)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range f.Groups {
		alerts = append(alerts, g.Rules...)
	}
	if len(alerts) < 25 {
		t.Fatalf("%d alerts", len(alerts))
	}
	return f, alerts
}

// TestAlertsDocumented wants each alert to say what is wrong, where, and how bad, and to lead
// to a section of docs/alerts.md; and each section to be about an alert.
func TestAlertsDocumented(t *testing.T) {
	const page, base = "docs/alerts.md", "https://github.com/heraldlb/herald/blob/main/docs/alerts.md#"
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]string{} // by anchor, as GitHub makes them
	for _, s := range strings.Split(string(b), "\n## ")[1:] {
		title, text, _ := strings.Cut(s, "\n")
		sections[strings.ToLower(title)] = text
	}
	known := map[string]bool{}
	_, alerts := readAlerts(t)
	for _, a := range alerts {
		anchor, ok := strings.CutPrefix(a.Annotations["runbook_url"], base)
		text, there := sections[anchor]
		if !ok || !there {
			t.Errorf("%s: runbook_url %q is no section of %s", a.Alert, a.Annotations["runbook_url"], page)
			continue
		}
		known[anchor] = true
		for _, part := range []string{"**Meaning**", "**Look**", "**Cure**"} {
			if !strings.Contains(text, part) {
				t.Errorf("%s: the section %s has no %s", page, anchor, part)
			}
		}
		for _, name := range []string{"summary", "description"} {
			if len(a.Annotations[name]) < 20 {
				t.Errorf("%s: %s is %q", a.Alert, name, a.Annotations[name])
			}
		}
		if s := a.Labels["severity"]; s != "critical" && s != "warning" {
			t.Errorf("%s: severity %q", a.Alert, s)
		}
		if a.For == "" {
			t.Errorf("%s fires at once", a.Alert)
		}
	}
	for anchor, text := range sections {
		if !known[anchor] && strings.Contains(text, "**Meaning**") {
			t.Errorf("%s: the section %s is about no alert", page, anchor)
		}
	}
}

// TestRules has promtool check all files of rules.
func TestRules(t *testing.T) {
	need.Program(t, "promtool")
	out, err := exec.CommandContext(t.Context(), "promtool", "check", "rules", "--lint=all", "--lint-fatal", alertsFile, "deploy/monitoring/frrk8s.yaml").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// An alertCase has series that make an alert fire, and those that do not. A name after @ in
// their labels stands for a target: n1 for an agent, f1 for FRR of the same pod, c1 for a
// controller.
type alertCase struct {
	alert   string
	bad     []string
	labels  string // of the alert that fires, but for alertname and severity
	summary string
	at      string // when; empty: 20m
	good    []string
}

// target is the labels of a target, as the chart's monitors set them.
var target = regexp.MustCompile(`@([nfc])([0-9])`)

func expandTargets(series string) string {
	return target.ReplaceAllStringFunc(series, func(m string) string {
		kind, i := m[1], m[2:]
		switch kind {
		case 'c':
			return fmt.Sprintf(`namespace="metallb-system",pod="herald-controller-%s",container="controller",instance="10.1.0.%s:7472"`, i, i)
		case 'f':
			return fmt.Sprintf(`namespace="metallb-system",pod="herald-agent-%s",container="frr",node="n%s",instance="10.0.0.%s:7473"`, i, i, i)
		}
		return fmt.Sprintf(`namespace="metallb-system",pod="herald-agent-%s",container="agent",node="n%s",instance="10.0.0.%s:7472"`, i, i, i)
	})
}

// alertTest has promtool evaluate the alerts over series, and wants these to fire at times.
type alertTest struct {
	Interval string            `json:"interval"`
	Series   []map[string]any  `json:"input_series"`
	Tests    []alertAt         `json:"alert_rule_test"`
	Labels   map[string]string `json:"external_labels,omitempty"`
}

type alertAt struct {
	At     string           `json:"eval_time"`
	Name   string           `json:"alertname"`
	Alerts []map[string]any `json:"exp_alerts"`
}

func newAlertTest(series []string) alertTest {
	out := alertTest{Interval: "1m"}
	for _, s := range series {
		at := strings.LastIndex(s, "} ")
		out.Series = append(out.Series, map[string]any{"series": expandTargets(s[:at+1]), "values": s[at+2:]})
	}
	return out
}

// promtool runs tests over the alerts. Of their annotations it keeps the summary: an
// expectation has all, word for word.
func promtool(t *testing.T, tests []alertTest) {
	t.Helper()
	need.Program(t, "promtool")
	f, _ := readAlerts(t)
	for _, g := range f.Groups {
		for _, r := range g.Rules {
			delete(r.Annotations, "description")
			delete(r.Annotations, "runbook_url")
		}
	}
	dir := t.TempDir()
	write := func(name string, v any) string {
		b, err := yaml.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, b, 0o644); err != nil {
			t.Fatal(err)
		}
		return file
	}
	rules := write("rules.yaml", f)
	file := write("tests.yaml", map[string]any{"rule_files": []string{rules}, "evaluation_interval": "1m", "tests": tests})
	if out, err := exec.CommandContext(t.Context(), "promtool", "test", "rules", file).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestAlertsFire wants each alert to fire when it is to, and not otherwise.
func TestAlertsFire(t *testing.T) {
	_, alerts := readAlerts(t)
	severity := map[string]string{}
	for _, a := range alerts {
		severity[a.Alert] = a.Labels["severity"]
	}
	label := regexp.MustCompile(`([a-z_]+)="([^"]*)"`)
	var tests []alertTest
	tested := map[string]bool{}
	for _, c := range alertCases {
		if severity[c.alert] == "" {
			t.Errorf("there is no alert %s", c.alert)
		}
		tested[c.alert] = true
		labels := map[string]string{"severity": severity[c.alert]}
		for _, m := range label.FindAllStringSubmatch(expandTargets(c.labels), -1) {
			labels[m[1]] = m[2]
		}
		at := c.at
		if at == "" {
			at = "20m"
		}
		bad := newAlertTest(c.bad)
		bad.Tests = []alertAt{
			{"0m", c.alert, nil}, // it waits
			{at, c.alert, []map[string]any{{"exp_labels": labels, "exp_annotations": map[string]string{"summary": c.summary}}}},
		}
		good := newAlertTest(c.good)
		good.Tests = []alertAt{{"5m", c.alert, nil}, {at, c.alert, nil}}
		tests = append(tests, bad, good)
	}
	for _, a := range alerts {
		if !tested[a.Alert] {
			t.Errorf("%s is not tested", a.Alert)
		}
	}
	promtool(t, tests)
}

// TestAlertsQuiet wants no alert to fire in normal life.
func TestAlertsQuiet(t *testing.T) {
	_, alerts := readAlerts(t)
	var tests []alertTest
	for _, series := range quietTimes {
		test := newAlertTest(series)
		for i := range 40 {
			for _, a := range alerts {
				test.Tests = append(test.Tests, alertAt{fmt.Sprintf("%dm", i), a.Alert, nil})
			}
		}
		tests = append(tests, test)
	}
	if len(tests) < 4 {
		t.Errorf("%d times", len(tests))
	}
	promtool(t, tests)
}
