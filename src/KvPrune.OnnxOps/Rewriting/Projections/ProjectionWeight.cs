namespace KvPrune.OnnxOps.Rewriting.Projections;

/// <summary>A projection y = W x, stored as rows that belong either to the entries of x or to those of y.</summary>
internal abstract class ProjectionWeight : IDisposable
{
    /// <summary>Entries of x.</summary>
    public required int Inputs { get; init; }

    /// <summary>Entries of y.</summary>
    public required int Outputs { get; init; }

    /// <summary>Whether a stored row is what one entry of x adds to all of y; else it is what makes one entry of y.</summary>
    public required bool RowsAreInputs { get; init; }

    /// <summary>What every stored value is multiplied by.</summary>
    public float Factor { get; init; } = 1;

    protected int RowLength => RowsAreInputs ? Outputs : Inputs;

    /// <summary>Stored rows [<paramref name="count"/>, <see cref="Outputs"/> or <see cref="Inputs"/>] from the one named on.</summary>
    public abstract void ReadRows(int first, int count, Span<float> rows);

    public abstract void Dispose();
}
