// SPDX-License-Identifier: Apache-2.0

// Package schema validates custom resources as the API server does, by the schemas and
// rules in their definitions and with the API server's own code.
package schema

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/objectmeta"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"

	"github.com/heraldlb/herald/deploy/crds"
)

// A Problem is a reason why the API server rejects an object.
type Problem struct {
	Field   string // such as spec.addresses[0]
	Message string
	Unknown bool     // the definition has no such field
	Known   []string // of an unknown field: the fields that exist in its place
}

// Definitions are the definitions of custom resources. They are not safe for
// concurrent use.
type Definitions struct {
	known    map[kind]apiextensionsv1.CustomResourceDefinitionVersion
	compiled map[kind]*validator
}

// A kind is one version of a kind.
type kind struct{ apiVersion, kind string }

// New returns Herald's definitions.
func New() (*Definitions, error) { return read(crds.Files()) }

func read(files fs.FS) (*Definitions, error) {
	d := &Definitions{known: map[kind]apiextensionsv1.CustomResourceDefinitionVersion{}, compiled: map[kind]*validator{}}
	names, err := fs.Glob(files, "*.yaml")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		var crd apiextensionsv1.CustomResourceDefinition
		if err := yaml.UnmarshalStrict(text, &crd); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		for _, v := range crd.Spec.Versions {
			d.known[kind{crd.Spec.Group + "/" + v.Name, crd.Spec.Names.Kind}] = v
		}
	}
	return d, nil
}

// Known reports whether a kind is defined in a version.
func (d *Definitions) Known(apiVersion, name string) bool {
	_, ok := d.known[kind{apiVersion, name}]
	return ok
}

// Apply treats a new object as the API server does. It removes unknown fields and the
// status, sets defaults, and returns why the object is rejected, nil if it is not.
// Validation of fields is strict, as kubectl requests it: unknown fields are Problems.
// It is an error if the kind or version is not defined.
func (d *Definitions) Apply(ctx context.Context, object map[string]any) ([]Problem, error) {
	u := unstructured.Unstructured{Object: object}
	v, err := d.validator(kind{u.GetAPIVersion(), u.GetKind()})
	if err != nil {
		return nil, err
	}
	return v.apply(ctx, u), nil
}

// Prune removes unknown fields and the status from an object of a cluster, which may
// have been stored with other definitions.
func (d *Definitions) Prune(object map[string]any) error {
	u := unstructured.Unstructured{Object: object}
	v, err := d.validator(kind{u.GetAPIVersion(), u.GetKind()})
	if err != nil {
		return err
	}
	delete(object, "status")
	pruning.Prune(object, v.structural, true)
	return nil
}

// A validator validates objects of one version of a kind.
type validator struct {
	structural *structuralschema.Structural
	schema     validation.SchemaValidator
	rules      *cel.Validator // nil: no rules
}

func (d *Definitions) validator(k kind) (*validator, error) {
	if v := d.compiled[k]; v != nil {
		return v, nil
	}
	version, ok := d.known[k]
	if !ok || version.Schema == nil {
		return nil, fmt.Errorf("no definition of %s %s", k.apiVersion, k.kind)
	}
	var internal apiextensions.CustomResourceValidation
	if err := apiextensionsv1.Convert_v1_CustomResourceValidation_To_apiextensions_CustomResourceValidation(version.Schema, &internal, nil); err != nil {
		return nil, fmt.Errorf("definition of %s: %w", k.kind, err)
	}
	structural, err := structuralschema.NewStructural(internal.OpenAPIV3Schema)
	if err != nil {
		return nil, fmt.Errorf("definition of %s: %w", k.kind, err)
	}
	if err := defaulting.PruneDefaults(structural); err != nil {
		return nil, fmt.Errorf("definition of %s: %w", k.kind, err)
	}
	v := &validator{structural: structural, rules: cel.NewValidator(structural, true, celconfig.PerCallLimit)}
	if v.schema, _, err = validation.NewSchemaValidator(internal.OpenAPIV3Schema); err != nil {
		return nil, fmt.Errorf("definition of %s: %w", k.kind, err)
	}
	d.compiled[k] = v
	return v, nil
}

// apply follows the API server's handler and strategy of custom resources:
// decode, prune, set defaults, drop the status, validate.
func (v *validator) apply(ctx context.Context, u unstructured.Unstructured) []Problem {
	var problems []Problem
	_, _, unknown, err := objectmeta.GetObjectMetaWithOptions(u.Object, objectmeta.ObjectMetaOptions{ReturnUnknownFieldPaths: true})
	if err != nil {
		// Other mistakes cannot be found before the metadata is valid.
		return []Problem{{Field: "metadata", Message: err.Error()}}
	}
	unknown = append(unknown, pruning.PruneWithOptions(u.Object, v.structural, true, structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})...)
	for _, path := range unknown {
		path = strings.TrimPrefix(path, ".")
		problems = append(problems, Problem{path, "unknown field", true, v.siblings(path)})
	}
	defaulting.PruneNonNullableNullsWithoutDefaults(u.Object, v.structural)
	defaulting.Default(u.Object, v.structural)
	delete(u.Object, "status")

	errs := apivalidation.ValidateObjectMetaAccessor(&u, true, apivalidation.NameIsDNSSubdomain, field.NewPath("metadata"))
	errs = append(errs, validation.ValidateCustomResource(nil, u.Object, v.schema)...)
	errs = append(errs, objectmeta.Validate(ctx, nil, u.Object, v.structural, false)...)
	errs = append(errs, listtype.ValidateListSetsAndMaps(nil, v.structural, u.Object)...)
	if v.rules != nil && !blocking(errs) {
		broken, _ := v.rules.Validate(ctx, nil, v.structural, u.Object, nil, celconfig.RuntimeCELCostBudget)
		errs = append(errs, broken...)
	}
	for _, err := range errs {
		problems = append(problems, problem(err))
	}
	return problems
}

var indexes = regexp.MustCompile(`\[[^]]*\]`)

// siblings returns the fields that a definition has where a path ends.
func (v *validator) siblings(path string) []string {
	at := v.structural
	names := strings.Split(indexes.ReplaceAllString(path, ""), ".")
	for _, name := range names[:len(names)-1] {
		next, ok := at.Properties[name]
		if !ok {
			return nil
		}
		for next.Items != nil {
			next = *next.Items
		}
		at = &next
	}
	return slices.Sorted(maps.Keys(at.Properties))
}

// blocking reports whether errors keep the API server from checking the rules.
func blocking(errs field.ErrorList) bool {
	for _, err := range errs {
		switch err.Type {
		case field.ErrorTypeNotSupported, field.ErrorTypeRequired, field.ErrorTypeTooLong, field.ErrorTypeTooMany, field.ErrorTypeTypeInvalid:
			return true
		}
	}
	return false
}

// problem returns an error as a Problem. It shows no value that may be a password.
func problem(err *field.Error) Problem {
	p := Problem{Field: err.Field}
	detail := err.Detail
	if rest, ok := strings.CutPrefix(detail, err.Field+" in body "); ok {
		detail = rest
	}
	text := *err
	text.Detail = detail
	if strings.Contains(strings.ToLower(err.Field), "password") && text.Type != field.ErrorTypeRequired {
		text.BadValue = "[redacted]"
	}
	// A rule is about a whole object, and its message describes the mistake.
	_, isObject := text.BadValue.(map[string]any)
	_, omitted := text.BadValue.(field.OmitValueType)
	if text.Type == field.ErrorTypeInvalid && (isObject || omitted || text.BadValue == "object") {
		p.Message = detail
		return p
	}
	p.Message = text.ErrorBody()
	return p
}
