using System.Text.Json.Serialization;

namespace KvPrune.ModelBuilder;

/// <summary>How rotary frequencies are changed to reach further than the model was trained for at first.</summary>
[JsonDerivedType(typeof(LinearRopeScaling), "linear")]
[JsonDerivedType(typeof(Llama3RopeScaling), "llama3")]
[JsonDerivedType(typeof(LongRopeScaling), "longrope")]
public abstract record RopeScaling;
