namespace KvPrune.AI.Models;

/// <summary>Why a model folder cannot be run.</summary>
/// <param name="Part">Where the problem lies. GenAI's runtime brings a tokenizer and a template engine of its own.</param>
/// <param name="Problem">What is wrong; names file and entry, node or line.</param>
public sealed record ModelObstacle(ModelPart Part, string Problem);
