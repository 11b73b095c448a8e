package pickle

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"selfcon/internal/testkit"
)

// reader knows what Python's bytes need in protocol 2, a class and an object
// outside the pickle.
func reader(raw []byte) Reader {
	return Reader{
		Globals: map[string]func(Tuple) (any, error){
			"_codecs.encode": LatinBytes(len(raw)),
			"here.Class":     func(a Tuple) (any, error) { return &object{args: a}, nil },
			"here.name":      nil,
		},
		Persistent: func(id any) (any, error) {
			if id != any("there") {
				return nil, errors.New("no such object")
			}
			return "outside", nil
		},
	}
}

type object struct {
	args  Tuple
	state any
}

func (o *object) SetState(s any) error { o.state = s; return nil }

// The same value as Python 3.11 writes it in each protocol.
func TestRead(t *testing.T) {
	pickles := map[string]string{
		"2": "\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01]q\x02(K\x01J\xfe\xff\xff\xffM,\x01Jp\x11\x01\x00\x8a\x06\x00\xf0Z+\x17\xffG?\xf8\x00\x00\x00\x00\x00\x00\x88NeX\x01\x00\x00\x00bq\x03X\x01\x00\x00\x00xq\x04c_codecs\nencode\nq\x05X\x02\x00\x00\x00yzq\x06X\x06\x00\x00\x00latin1q\x07\x86q\x08Rq\t\x86q\nK\x03}q\x0bX\x04\x00\x00\x00longq\x0cX\x06\x00\x00\x00\xc3\xa9\xc3\xa9\xc3\xa9q\ru.",
		"3": "\x80\x03}q\x00(X\x01\x00\x00\x00aq\x01]q\x02(K\x01J\xfe\xff\xff\xffM,\x01Jp\x11\x01\x00\x8a\x06\x00\xf0Z+\x17\xffG?\xf8\x00\x00\x00\x00\x00\x00\x88NeX\x01\x00\x00\x00bq\x03X\x01\x00\x00\x00xq\x04C\x02yzq\x05\x86q\x06K\x03}q\x07X\x04\x00\x00\x00longq\x08X\x06\x00\x00\x00\xc3\xa9\xc3\xa9\xc3\xa9q\tu.",
		"5": "\x80\x05\x95R\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x01a\x94]\x94(K\x01J\xfe\xff\xff\xffM,\x01Jp\x11\x01\x00\x8a\x06\x00\xf0Z+\x17\xffG?\xf8\x00\x00\x00\x00\x00\x00\x88Ne\x8c\x01b\x94\x8c\x01x\x94C\x02yz\x94\x86\x94K\x03}\x94\x8c\x04long\x94\x8c\x06\xc3\xa9\xc3\xa9\xc3\xa9\x94u.",
	}
	var want Dict
	for _, kv := range [][2]any{
		{"a", &List{[]any{int64(1), int64(-2), int64(300), int64(70000), int64(-1e12), 1.5, true, nil}}},
		{"b", Tuple{"x", Bytes("yz")}}, {int64(3), &Dict{}}, {"long", "ééé"},
	} {
		if err := want.Set(kv[0], kv[1]); err != nil {
			t.Fatal(err)
		}
	}
	for protocol, p := range pickles {
		got, err := reader([]byte(p)).Read([]byte(p))
		if err != nil {
			t.Errorf("protocol %s: %v", protocol, err)
			continue
		}
		if diff := cmp.Diff(&want, got, cmp.AllowUnexported(Dict{}), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("protocol %s: (-want +got)\n%s", protocol, diff)
		}
	}
}

func TestObjects(t *testing.T) {
	// Class(1), with the state {}; the object "there" outside; a name.
	p := []byte("\x80\x02(chere\nClass\nK\x01\x85\x81}bX\x05\x00\x00\x00thereQchere\nname\nt.")
	got, err := reader(p).Read(p)
	if err != nil {
		t.Fatal(err)
	}
	want := Tuple{&object{Tuple{int64(1)}, &Dict{}}, "outside", Global("here.name")}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(object{}, Dict{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		pickle string
		want   []string
	}{
		"os.system":         {"\x80\x02cposix\nsystem\nq\x00X\x04\x00\x00\x00trueq\x01\x85q\x02Rq\x03.", []string{"byte 2", `"posix.system"`, "nothing that a pickle names is run"}},
		"by stack":          {"\x80\x04\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x04true\x94\x85\x94R\x94.", []string{`"posix.system"`}},
		"eval":              {"\x80\x02c__builtin__\neval\nq\x00X\x01\x00\x00\x001q\x01\x85q\x02Rq\x03.", []string{`"__builtin__.eval"`}},
		"built up":          {"\x80\x04\x8c\x02os\x8c\x06systemX\x00\x00\x00\x00\x86\x93.", []string{"a string and a tuple, not two strings"}},
		"name called":       {"\x80\x02chere\nname\n)R.", []string{"here.name is called", "only knows as a name"}},
		"called":            {"\x80\x02X\x02\x00\x00\x00os)R.", []string{"a string is called"}},
		"not arguments":     {"\x80\x02chere\nClass\nNR.", []string{"arguments are a None"}},
		"inst":              {"\x80\x02(ios\nsystem\n.", []string{"opcode 0x69"}},
		"extension":         {"\x80\x02\x82\x01.", []string{"opcode 0x82"}},
		"protocol":          {"\x80\x01}.", []string{"protocol 1", "2 to 5"}},
		"outside":           {"\x80\x02NQ.", []string{"no such object"}},
		"state":             {"\x80\x02N}b.", []string{"a state is set on a None"}},
		"cut":               {"\x80\x02X\xff\x00\x00\x00abc", []string{"byte 2", "255 bytes wanted at byte 7 of 10"}},
		"length":            {"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xffabc", []string{"truncated"}},
		"no end":            {"\x80\x02}", []string{"truncated"}},
		"empty":             {"", []string{"truncated"}},
		"more":              {"\x80\x02}.}", []string{"bytes after its end"}},
		"two":               {"\x80\x02}}.", []string{"2 values on the stack"}},
		"none":              {"\x80\x02.", []string{"0 values on the stack"}},
		"mark":              {"\x80\x02}u.", []string{"no mark"}},
		"under mark":        {"\x80\x02N(\x85.", []string{"1 values wanted, the stack has 0"}},
		"half pair":         {"\x80\x02}(Nu.", []string{"a key without a value"}},
		"key":               {"\x80\x02}]Ns.", []string{"a key is a list"}},
		"append to":         {"\x80\x02}Na.", []string{"appended to a dictionary"}},
		"set in":            {"\x80\x02]NNs.", []string{"set in a list"}},
		"memo":              {"\x80\x02h\x05.", []string{"value 5 is used before it is kept"}},
		"long number":       {"\x80\x02\x8a\x09123456789.", []string{"a number of 9 bytes"}},
		"encoded too often": {"\x80\x02(c_codecs\nencode\nq\x00X\x80\x00\x00\x00" + strings.Repeat("a", 128) + "q\x01X\x06\x00\x00\x00latin1\x86q\x02R" + strings.Repeat("h\x00h\x02R", 100) + "t.", []string{"more text is encoded"}},
		"too much":          {"\x80\x02(" + strings.Repeat("N", maxOpcodes) + "t.", []string{"more than 1048576 opcodes"}},
	} {
		_, err := reader([]byte(c.pickle)).Read([]byte(c.pickle))
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		for _, w := range c.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %q does not say %q", name, err, w)
			}
		}
	}
	_, err := Reader{}.Read([]byte("\x80\x02cos\nsystem\n."))
	if u := new(UnknownGlobal); !errors.As(err, &u) || u.Name != "os.system" {
		t.Errorf("%v is no UnknownGlobal of os.system", err)
	}
	if _, err := (Reader{}).Read([]byte("\x80\x02NQ.")); err == nil || !strings.Contains(err.Error(), "outside itself") {
		t.Errorf("an object outside: %v", err)
	}
}

func TestKind(t *testing.T) {
	for want, v := range map[string]any{
		"None": nil, "bool": true, "int": int64(1), "float": 1.5, "bytes": Bytes{}, "string": "", "tuple": Tuple{}, "list": &List{}, "dictionary": &Dict{}, "a.b": Global("a.b"), "value": 'x',
	} {
		if got := Kind(v); got != want {
			t.Errorf("Kind(%v) = %s, must be %s", v, got, want)
		}
	}
	if Brief(int64(3)) != "3" || Brief("x") != "string" {
		t.Error("Brief")
	}
}

func FuzzRead(f *testing.F) {
	for _, p := range []string{
		"\x80\x02(chere\nClass\nK\x01\x85\x81}bX\x05\x00\x00\x00thereQchere\nname\nt.",
		"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01]q\x02(K\x01J\xfe\xff\xff\xffG?\xf8\x00\x00\x00\x00\x00\x00\x88Neh\x01h\x00u.",
		"\x80\x05\x95\x12\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x01b\x94\x8c\x01x\x94C\x02yz\x94\x86\x94u.",
		"\x80\x04\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x04true\x94\x85\x94R\x94.",
		"\x80\x02c_codecs\nencode\nX\x02\x00\x00\x00\xc2\x80X\x06\x00\x00\x00latin1\x86R.",
		"\x80\x02]q\x01(h\x01h\x01h\x01e.",
	} {
		f.Add([]byte(p))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		defer testkit.Bound(t, 1<<20+400*len(raw))()
		v, err := reader(raw).Read(raw)
		if err == nil {
			Kind(v)
			Brief(v)
		}
	})
}
