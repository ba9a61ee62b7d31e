<#
.SYNOPSIS
Restarts the backend and gives a verdict on its new start.

.DESCRIPTION
The same as `inv restart-backend`, for those who know this script by its name.
Its exit code is passed on: 0 healthy, 3 not healthy, 4 out of reach.

.PARAMETER Logs
Show the lines of the new start; -Logs:$false leaves them out.

.PARAMETER TailLines
Show at most this many of them.

.EXAMPLE
powershell -ExecutionPolicy Bypass -File scripts/win/restart-backend.ps1 -TailLines 100
#>
param(
    # A switch, for `powershell -File` passes -Logs:$false on to a switch alone.
    [switch]$Logs = $true,
    [int]$TailLines = 50
)

$inv = Join-Path (Split-Path (Split-Path $PSScriptRoot -Parent) -Parent) 'scripts/inv.py'
$words = @('restart-backend', '--tail', "$TailLines")
if (-not $Logs) {
    $words += '--no-logs'
}

# The launcher of python.org's installer, else whatever python there is.
foreach ($name in 'py', 'python3', 'python') {
    $python = Get-Command $name -CommandType Application -ErrorAction SilentlyContinue | Select-Object -First 1
    if ($python) {
        & $python.Source $inv @words
        exit $LASTEXITCODE
    }
}
[Console]::Error.WriteLine("Python is missing`n  install Python 3.11 or newer from python.org, then try again")
exit 1
