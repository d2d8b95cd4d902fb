namespace KvPrune.OnnxOps;

/// <summary>For which tokens a rewritten graph computes logits.</summary>
public enum LogitsPositions
{
    /// <summary>The last valid token of each row: logits [batch_size, 1, vocabulary].</summary>
    Last = 0,

    /// <summary>Every token of the run: logits [batch_size, sequence_length, vocabulary].</summary>
    All = 1,
}
