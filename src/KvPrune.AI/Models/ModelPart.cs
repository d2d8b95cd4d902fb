namespace KvPrune.AI.Models;

/// <summary>A part of a model folder.</summary>
public enum ModelPart
{
    /// <summary>genai_config.json.</summary>
    Configuration,

    /// <summary>The ONNX graph and the files of its weights.</summary>
    Graph,

    /// <summary>tokenizer.json.</summary>
    Tokenizer,

    /// <summary>chat_template.jinja, or the entry chat_template of tokenizer_config.json.</summary>
    ChatTemplate,
}
