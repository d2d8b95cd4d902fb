namespace KvPrune.Eval.Tasks;

/// <summary>A generator of documents with questions.</summary>
internal interface IEvalTask
{
    string Name { get; }

    /// <summary>
    /// Whether words are counted rather than facts found. The bundled model was not trained to, so these are left out of the
    /// accuracy over all tasks.
    /// </summary>
    bool CountsWords { get; }

    /// <summary>Makes a document. Facts and questions depend on the seed alone, the length on <paramref name="units"/>.</summary>
    /// <param name="seed">Equal seeds make equal documents.</param>
    /// <param name="units">At least 0: sentences around the facts, or words.</param>
    Document Create(int seed, int units);
}
