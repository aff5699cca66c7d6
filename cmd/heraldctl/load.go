// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/manifest"
	"github.com/heraldlb/herald/schema"
)

// IDs of Findings about the content of a configuration. Others are those of package
// manifest and the reasons of a config.Verdict.
const (
	idDocument   = "Document"   // a mistake in a ConfigMap's document
	idSchema     = "Schema"     // the definition of the kind rejects it
	idTwoSources = "TwoSources" // a ConfigMap and resources exist
)

// A loaded is a configuration that was read from the texts of a source.
type loaded struct {
	findings  []manifest.Finding
	documents []document      // of ConfigMaps, or bare
	objects   []config.Object // resources
	resources []string        // files that hold them, each once
	resolved  *config.Config  // of the resources; nil if some are wrong
}

// A document is the configuration in a ConfigMap.
type document struct {
	name  string // of the file
	line  int
	id    string         // of the ConfigMap; empty: it is the whole file
	aside bool           // the ConfigMap is not where Herald reads it
	cfg   *config.Config // nil if it has mistakes
}

// load reads and validates a configuration. Its error is about files that could not be
// read.
func load(cmd *cobra.Command, s source) (loaded, error) {
	texts, unreadable := s.texts(cmd)
	l, err := judge(cmd.Context(), texts, s)
	return l, errors.Join(unreadable, err)
}

// judge validates the configuration that all texts together hold.
func judge(ctx context.Context, texts []text, s source) (loaded, error) {
	var l loaded
	var objects []*manifest.Object
	for _, t := range texts {
		objects = append(objects, l.read(t)...)
	}
	place := s.place()
	m := config.ReadManifests(objects, place)
	l.findings = append(l.findings, m.Findings...)
	for _, c := range m.ConfigMaps {
		cfg, err := c.Parse()
		l.document(document{c.Path, c.Line(""), c.ID(), c.Aside, cfg}, err)
	}
	if len(m.Objects) > 0 {
		if err := l.resolve(ctx, m, place.Namespace); err != nil {
			return l, err
		}
	}
	if len(l.documents) == 0 && len(l.resources) == 0 && len(texts) > 0 && !l.invalid() {
		l.findings = append(l.findings, manifest.Finding{
			Path: together(names(texts)), Severity: manifest.Error, ID: manifest.IDEmpty,
			Message: fmt.Sprintf("holds no object of the configuration in namespace %s", place.Namespace),
		})
	}
	l.twoSources(s.which)
	for i, f := range l.findings {
		if slices.ContainsFunc(texts, func(t text) bool { return t.made && t.name == f.Path }) {
			l.findings[i].Line = 0 // nobody has written these lines
		}
	}
	manifest.Sort(l.findings, names(texts))
	return l, nil
}

// names returns the names of the files of texts, each once.
func names(texts []text) []string {
	var all []string
	for _, t := range texts {
		if !slices.Contains(all, t.name) {
			all = append(all, t.name)
		}
	}
	return all
}

// together returns a short name for several files; for none, that of the cluster.
func together(files []string) string {
	switch {
	case len(files) == 0:
		return clusterName
	case len(files) > 3:
		return fmt.Sprintf("%d files", len(files))
	}
	return strings.Join(files, ", ")
}

// read returns the objects of a text. A text without objects is the document of a
// ConfigMap.
func (l *loaded) read(t text) []*manifest.Object {
	objects, mistakes := manifest.Read(t.name, t.data)
	if slices.ContainsFunc(objects, func(o *manifest.Object) bool { return !o.Bare() }) {
		l.findings = append(l.findings, mistakes...)
		for _, o := range objects {
			if o.Bare() {
				l.findings = append(l.findings, o.Finding(manifest.Error, manifest.IDSyntax, "", "no object: it has neither apiVersion nor kind"))
			}
		}
		return objects
	}
	switch {
	case len(objects) == 0 && len(mistakes) == 0 && t.inFolder:
	case len(objects) == 0 && len(mistakes) == 0:
		l.findings = append(l.findings, manifest.Finding{Path: t.name, Line: 1, Severity: manifest.Error, ID: manifest.IDEmpty,
			Message: "holds no object; a configuration without pools is written address-pools: []"})
	case t.inFolder && len(mistakes) == 0 && !config.LooksLikeDocument(t.data):
		l.findings = append(l.findings, notObjects(t))
	case t.inFolder && len(objects) == 0:
		l.findings = append(l.findings, mistakes...)
	default:
		cfg, err := config.Parse(t.data)
		l.document(document{t.name, 1, "", false, cfg}, err)
	}
	return nil
}

// notObjects returns the finding for a file of a folder that has no objects.
func notObjects(t text) manifest.Finding {
	f := manifest.Finding{Path: t.name, Line: 1, Severity: manifest.Note, ID: manifest.IDNotRead, Message: "not read: it holds no object of Kubernetes"}
	if base := filepath.Base(t.name); strings.TrimSuffix(base, filepath.Ext(base)) == "kustomization" {
		f.Message = fmt.Sprintf("not read: name the folder with -k %s instead, and kustomize builds it", filepath.Dir(t.name))
	}
	return f
}

// document adds a document and its mistakes.
func (l *loaded) document(d document, err error) {
	l.documents = append(l.documents, d)
	find := func(severity manifest.Severity, id string, line int, field, message string) {
		l.findings = append(l.findings, manifest.Finding{Path: d.name, Line: line, Severity: severity, ID: id, Field: field, Message: message})
	}
	var mistakes config.Errors
	if errors.As(err, &mistakes) {
		for _, m := range mistakes {
			find(manifest.Error, idDocument, m.Line, m.Path, m.Reason)
		}
		return
	}
	if err != nil {
		find(manifest.Error, idDocument, d.line, "", err.Error())
		return
	}
	for _, warning := range d.cfg.Warnings() {
		find(manifest.Warning, manifest.IDUnlikely, 0, "", warning)
	}
}

// resolve validates resources as the API server does, then as the controller does at
// its first start.
func (l *loaded) resolve(ctx context.Context, m config.Manifests, namespace string) error {
	definitions, err := schema.New()
	if err != nil {
		return err
	}
	problems := map[config.ID][]schema.Problem{}
	for i, o := range m.Objects {
		origin := m.Origins[o.ID]
		if !slices.Contains(l.resources, origin.Path) {
			l.resources = append(l.resources, origin.Path)
		}
		content := origin.Content()
		if !definitions.Known(origin.APIVersion, origin.Kind) {
			continue // it is a finding already
		}
		if metadata, ok := content["metadata"].(map[string]any); ok {
			if origin.Namespace == "" {
				metadata["namespace"] = namespace
			}
			if metadata["uid"] != nil {
				delete(content, "status") // a cluster wrote it
			}
		}
		inCluster := origin.Path == clusterName
		if inCluster {
			if err := definitions.Prune(content); err != nil {
				return err
			}
		}
		if problems[o.ID], err = definitions.Apply(ctx, content); err != nil {
			return err
		}
		// Herald gets what the API server would store. A cluster has done that already.
		if spec, ok := content["spec"]; ok && !inCluster && len(problems[o.ID]) == 0 {
			if m.Objects[i].Spec, err = json.Marshal(spec); err != nil {
				return err
			}
		}
	}
	l.objects = m.Objects
	r := config.Resolved{}.Next(m.Resources)
	for _, v := range r.Verdicts {
		l.findings = append(l.findings, verdict(m.Origins[v.ID], v, problems[v.ID], l.findings)...)
	}
	for _, warning := range r.Config.Warnings() {
		l.findings = append(l.findings, manifest.Finding{Path: together(l.resources), Severity: manifest.Warning, ID: manifest.IDUnlikely, Message: warning})
	}
	if !slices.ContainsFunc(l.findings, func(f manifest.Finding) bool { return f.Severity == manifest.Error && f.ID != idDocument }) {
		l.resolved = r.Config
	}
	return nil
}

// verdict returns the findings about a resource. A mistake that both the definition and
// Herald reject is one finding, with Herald's message.
func verdict(o *manifest.Object, v config.Verdict, problems []schema.Problem, before []manifest.Finding) []manifest.Finding {
	var all []manifest.Finding
	found := func(p schema.Problem) bool {
		return slices.ContainsFunc(before, func(f manifest.Finding) bool {
			return f.Path == o.Path && f.Object == o.ID() && f.Field == p.Field
		}) || slices.ContainsFunc(v.Fields, func(e *config.FieldError) bool { return sameMistake(p.Field, e) })
	}
	unknown := 0
	for _, p := range problems {
		if o.Name == "" && strings.HasPrefix(p.Field, "metadata.name") || found(p) {
			continue
		}
		message := p.Message
		if p.Unknown {
			unknown++
			if meant := config.Closest(p.Field[strings.LastIndex(p.Field, ".")+1:], p.Known); meant != "" {
				message += fmt.Sprintf(", did you mean %q?", meant)
			}
		}
		all = append(all, o.Finding(manifest.Error, idSchema, p.Field, "%s", message))
	}
	for _, e := range v.Fields {
		if unknown > 0 && unknownField(e) {
			continue // the definition's problem has the line
		}
		all = append(all, o.Finding(manifest.Error, v.Reason, e.Field, "%s", e.Reason))
	}
	if !v.Accepted && len(v.Fields) == 0 {
		message := strings.TrimSuffix(v.Message, "; no version of it is in force") // none was before
		field, message := leadingField(message)
		all = append(all, o.Finding(manifest.Error, v.Reason, field, "%s", message))
	}
	for _, n := range v.Notes {
		all = append(all, o.Finding(manifest.Warning, manifest.IDUnlikely, "", "%s", n))
	}
	return all
}

var fieldFirst = regexp.MustCompile(`^((?:spec|metadata)[^\s:]*): (.+)$`)

// leadingField returns the field that a message begins with, and the rest.
func leadingField(message string) (field, rest string) {
	if m := fieldFirst.FindStringSubmatch(message); m != nil {
		return m[1], m[2]
	}
	return "", message
}

// sameMistake reports whether a definition's problem with a field is also Herald's
// mistake: both are about the same field or one in it. A rule about the whole spec is
// the same as any mistake that Herald finds in the spec.
func sameMistake(field string, e *config.FieldError) bool {
	switch {
	case unknownField(e):
		return false
	case field == e.Field || field == "spec":
		return true
	}
	rest, inside := strings.CutPrefix(field, e.Field)
	return inside && e.Field != "spec" && (rest[0] == '.' || rest[0] == '[')
}

// unknownField reports whether a mistake is a field that the kind does not have.
func unknownField(e *config.FieldError) bool { return strings.Contains(e.Reason, "unknown field") }

// invalid reports whether there is an error.
func (l loaded) invalid() bool { return has(l.findings, manifest.Error) }

func has(findings []manifest.Finding, severity manifest.Severity) bool {
	return slices.ContainsFunc(findings, func(f manifest.Finding) bool { return f.Severity == severity })
}
