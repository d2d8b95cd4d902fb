namespace KvPrune.Eval.Running;

/// <summary>Where the question stands when a prompt is compressed.</summary>
internal enum AskMode
{
    /// <summary>In the prompt: compression can look at it.</summary>
    Aware,

    /// <summary>After the compressed document.</summary>
    Agnostic,

    /// <summary>After the answer to another question, which the compressed prompt ended with.</summary>
    Second,
}
