using Microsoft.Agents.AI;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.SemanticKernel;

namespace KvPrune.AI.Tests.Chat;

/// <summary>The client inside the frameworks that build on IChatClient.</summary>
public sealed class IntegrationTests(BundledClient bundled)
{
    [Fact]
    public async Task A_semantic_kernel_prompt_is_answered()
    {
        FactDocument document = FactDocument.Create(50, 15, 2);
        IKernelBuilder builder = Kernel.CreateBuilder();
        builder.Services.AddChatClient(bundled.Client).UseKernelFunctionInvocation();
        Kernel kernel = builder.Build();
        FunctionResult answer = await kernel.InvokePromptAsync(
            "{{$document}}\n{{$question}}", new() { ["document"] = document.Text, ["question"] = document.Facts[0].Question });
        Assert.Equal(document.Facts[0].Answer, answer.ToString().Trim());
    }

    [Fact]
    public async Task An_agent_keeps_a_session_over_two_turns()
    {
        FactDocument document = FactDocument.Create(51, 15, 2);
        var agent = new ChatClientAgent(bundled.Client);
        AgentSession session = await agent.CreateSessionAsync();
        AgentResponse first = await agent.RunAsync(document.Ask(document.Facts[0]), session);
        AgentResponse second = await agent.RunAsync(document.Facts[1].Question, session);
        Assert.Equal(document.Facts[0].Answer, first.Text.Trim());
        Assert.Equal(document.Facts[1].Answer, second.Text.Trim());
        Assert.True(second.Usage!.CachedInputTokenCount > 100);
    }

    [Fact]
    public async Task Middleware_wraps_the_client()
    {
        // Not disposed: that would dispose the client inside, which other tests use.
        IChatClient client = bundled.Client.AsBuilder().UseFunctionInvocation().Build();
        FactDocument document = FactDocument.Create(52, 15, 1);
        Assert.Equal(document.Facts[0].Answer, (await client.GetResponseAsync(document.Ask(document.Facts[0]))).Text.Trim());
    }
}
