namespace KvPrune.OnnxOps.Tests.Ops;

/// <summary>Tests that choose kernels, which is a choice for the whole process: they run when nothing else does.</summary>
[CollectionDefinition(Name, DisableParallelization = true)]
public class KernelChoice
{
    public const string Name = "chooses kernels";
}
