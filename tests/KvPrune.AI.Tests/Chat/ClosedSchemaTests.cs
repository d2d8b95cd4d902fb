using System.Text.Json;
using System.Text.Json.Nodes;
using KvPrune.AI.Chat;

namespace KvPrune.AI.Tests.Chat;

public sealed class ClosedSchemaTests
{
    private const string A = """{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]}""";
    private const string B = """{"type":"object","properties":{"b":{"type":"integer"}}}""";
    private const string ClosedA = """{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"],"additionalProperties":false}""";
    private const string ClosedB = """{"type":"object","properties":{"b":{"type":"integer"}},"additionalProperties":false}""";

    public static TheoryData<string, string> Closed => new()
    {
        { A, ClosedA },
        { $$$$$$$$"""{"type":"array","items":{{{{{{{{A}}}}}}}}}""", $$$$$$$$"""{"type":"array","items":{{{{{{{{ClosedA}}}}}}}}}""" },
        { $$$$$$$$"""{"properties":{"x":{{{{{{{{A}}}}}}}},"y":{"prefixItems":[{{{{{{{{B}}}}}}}}]}}}""", $$$$$$$$"""{"properties":{"x":{{{{{{{{ClosedA}}}}}}}},"y":{"prefixItems":[{{{{{{{{ClosedB}}}}}}}}]}},"additionalProperties":false}""" },
        { $$$$$$$$"""{"anyOf":[{{{{{{{{A}}}}}}}},{{{{{{{{B}}}}}}}},{"type":"null"}]}""", $$$$$$$$"""{"anyOf":[{{{{{{{{ClosedA}}}}}}}},{{{{{{{{ClosedB}}}}}}}},{"type":"null"}]}""" },
        { $$$$$$$$"""{"$ref":"#/$defs/a","$defs":{"a":{{{{{{{{A}}}}}}}}}}""", $$$$$$$$"""{"$ref":"#/$defs/a","$defs":{"a":{{{{{{{{ClosedA}}}}}}}}}}""" },
        { """{"properties":{"next":{"$ref":"#"}}}""", """{"properties":{"next":{"$ref":"#"}},"additionalProperties":false}""" },
        { """{"description":"\"allOf\"","properties":{"allOf":{"type":"string"}}}""", """{"description":"\"allOf\"","properties":{"allOf":{"type":"string"}},"additionalProperties":false}""" },
        { $$$$$$$$"""{"properties":{"x":{"const":{"properties":{}}}}}""", $$$$$$$$"""{"properties":{"x":{"const":{"properties":{}}}},"additionalProperties":false}""" },
    };

    public static TheoryData<string> Open => new()
    {
        """{"properties":{"a":{}},"additionalProperties":true}""",
        """{"properties":{"a":{}},"required":["a","b"]}""",
        """{"properties":{"a":{}},"minProperties":2}""",
        """{"properties":{"a":{}},"patternProperties":{"^x":{"properties":{"b":{}}}}}""",
        $$$$$$$$"""{"properties":{"c":{{{{{{{{A}}}}}}}}},"anyOf":[{{{{{{{{A}}}}}}}},{{{{{{{{B}}}}}}}}]}""",
        $$$$$$$$"""{"required":["a"],"oneOf":[{{{{{{{{A}}}}}}}},{{{{{{{{B}}}}}}}}]}""",
        $$$$$$$$"""{"allOf":[{{{{{{{{A}}}}}}}},{"properties":{"x":{{{{{{{{B}}}}}}}}}}]}""",
        $$$$$$$$"""{"if":{{{{{{{{A}}}}}}}},"then":{{{{{{{{B}}}}}}}}}""",
        $$$$$$$$"""{"properties":{"x":{"not":{{{{{{{{A}}}}}}}}}},"additionalProperties":true}""",
        $$$$$$$$"""{"properties":{"b":{}},"$ref":"#/$defs/a","$defs":{"a":{{{{{{{{A}}}}}}}}}}""",
        $$$$$$$$"""{"allOf":[{"$ref":"#/definitions/a"}],"definitions":{"a":{"anyOf":[{"$ref":"#/definitions/b"}]},"b":{{{{{{{{B}}}}}}}}}}""",
        $$$$$$$$"""{"properties":{"x":{"$ref":"other.json#/a"}},"$defs":{"a":{{{{{{{{A}}}}}}}}}}""",
        """{"properties":{"a":{},"a":{}}}""",
        "true",
    };

    [Theory]
    [MemberData(nameof(Closed))]
    public void Objects_that_stand_alone_are_closed(string schema, string closed) =>
        Assert.True(JsonNode.DeepEquals(JsonNode.Parse(closed), JsonNode.Parse(ClosedSchema.Of(JsonElement.Parse(schema)))), ClosedSchema.Of(JsonElement.Parse(schema)));

    [Theory]
    [MemberData(nameof(Open))]
    public void Objects_that_other_schemas_apply_to_stay_open(string schema) =>
        Assert.DoesNotContain("\"additionalProperties\":false", ClosedSchema.Of(JsonElement.Parse(schema)), StringComparison.Ordinal);

    [Fact]
    public void A_definition_is_open_if_one_of_its_uses_needs_it_so()
    {
        string schema = $$$$$$$$"""{"properties":{"x":{"$ref":"#/$defs/a"},"y":{"allOf":[{"$ref":"#/$defs/a"},{{{{{{{{B}}}}}}}}]}},"$defs":{"a":{{{{{{{{A}}}}}}}}}}""";
        JsonNode closed = JsonNode.Parse(ClosedSchema.Of(JsonElement.Parse(schema)))!;
        Assert.NotNull(closed["additionalProperties"]);
        Assert.Null(closed["$defs"]!["a"]!["additionalProperties"]);
    }
}
